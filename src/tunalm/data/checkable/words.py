"""What the checkable tasks are made of: words and numbers, parted once and for all into train and held-out ones.

Nothing in `TRAIN` is in `HELDOUT`, whatever field it stands in. `KINDS` tells checkers which words name which kind of
thing.
"""

from __future__ import annotations

from dataclasses import dataclass


def _split(words: str) -> tuple[str, ...]:
    return tuple(words.split())


KINDS: dict[str, tuple[str, ...]] = {
    "animal": _split(
        "alligator ant ape bat bear beaver bee bird bobcat buffalo bull butterfly camel cat cheetah chicken"
        " chimpanzee cow coyote crab crocodile crow deer dog dolphin donkey dove duck eagle elephant falcon fish"
        " fox frog giraffe goat goose gorilla hamster hawk hedgehog hippo horse jaguar kangaroo kitten koala"
        " leopard lion lizard lobster monkey moose mouse octopus ostrich otter owl panda panther parrot peacock"
        " penguin pig pigeon pony puppy rabbit raccoon rat raven rhino salmon seal shark sheep sloth snail snake"
        " sparrow spider squirrel swan tiger toad turkey turtle walrus whale wolf worm zebra"
    ),
    "fruit": _split(
        "apple apricot avocado banana blackberry blueberry cherry coconut cranberry date fig grape grapefruit"
        " guava kiwi lemon lime lychee mango melon nectarine orange papaya peach pear pineapple plum pomegranate"
        " raspberry strawberry watermelon"
    ),
    "sport": _split(
        "archery badminton baseball basketball bowling boxing cricket cycling fencing football golf gymnastics"
        " handball hockey judo karate rowing rugby running sailing skating skiing soccer softball surfing swimming"
        " tennis volleyball wrestling"
    ),
    "color": _split(
        "beige black blue brown crimson cyan gold gray green grey indigo magenta maroon orange pink purple red"
        " silver teal turquoise violet white yellow"
    ),
    "vegetable": _split(
        "artichoke asparagus beet beetroot broccoli cabbage carrot cauliflower celery corn cucumber eggplant"
        " garlic kale leek lettuce onion parsnip pea pepper potato pumpkin radish spinach squash tomato turnip"
        " zucchini"
    ),
    "musical instrument": _split(
        "accordion banjo bassoon bugle cello clarinet cymbals drum drums fiddle flute guitar harmonica harp"
        " keyboard mandolin oboe organ piano piccolo recorder saxophone tambourine trombone trumpet tuba ukulele"
        " viola violin xylophone"
    ),
    "job": _split(
        "accountant actor architect artist baker barber butcher carpenter chef cook dentist designer doctor driver"
        " electrician engineer farmer firefighter journalist judge lawyer mechanic nurse painter pilot plumber"
        " police scientist secretary singer soldier tailor teacher waiter writer"
    ),
    "flower": _split(
        "carnation chrysanthemum crocus daffodil dahlia daisy geranium hibiscus hyacinth iris jasmine lavender"
        " lilac lily lotus magnolia marigold orchid pansy peony petunia poppy primrose rose snowdrop sunflower"
        " tulip"
    ),
}
"""Kind -> words that name one, in alphabetical order. No list is whole, but each holds what first comes to mind."""


@dataclass(frozen=True)
class Material:
    """What one split draws its parameters from."""

    objects: tuple[str, ...]
    """Things that one can hold or push, each one word after `the`."""
    adjectives: tuple[str, ...]
    """What any of the objects can be."""
    opposites: tuple[tuple[str, tuple[str, ...]], ...]
    """Words with the opposites that are right; the first is the usual one."""
    taboos: tuple[tuple[str, str, str], ...]
    """Topic, a word that comes to mind with it, and a sentence about the topic without that word."""
    kinds: tuple[str, ...]
    """Keys of `KINDS`."""
    numbers: tuple[int, ...]
    """Whole numbers of two digits."""


TRAIN = Material(
    objects=_split(
        "anchor arrow bag basket bell bench blanket boat bottle bowl box broom brush bucket button candle carpet"
        " chair clock coat coin comb computer cup curtain desk doll dress engine envelope fan fork glove hammer hat"
        " helmet jacket jar kettle key knife ladder lamp lock map mirror mug nail needle oven paddle paintbrush pan"
        " pencil pillow pin plate pocketknife poster rocket rope ruler saddle sandal shelf shirt shoe shovel skirt"
        " sofa spoon statue stone suitcase sweater table telescope tent ticket towel toy umbrella vase wagon wallet"
        " watch wheel window"
    ),
    adjectives=_split("old new big small heavy clean red blue green yellow plain pretty strange nice wooden round"),
    opposites=(
        ("hot", ("cold", "cool")),
        ("up", ("down",)),
        ("day", ("night",)),
        ("open", ("closed", "close", "shut")),
        ("fast", ("slow",)),
        ("happy", ("sad", "unhappy")),
        ("left", ("right",)),
        ("wet", ("dry",)),
        ("early", ("late",)),
        ("rich", ("poor",)),
        ("full", ("empty",)),
        ("inside", ("outside",)),
        ("love", ("hate", "hatred")),
        ("true", ("false", "untrue")),
        ("begin", ("end", "finish")),
        ("buy", ("sell",)),
        ("push", ("pull",)),
        ("black", ("white",)),
        ("big", ("small", "little")),
        ("young", ("old",)),
        ("give", ("take", "receive")),
        ("in", ("out",)),
    ),
    taboos=(
        ("dog", "animal", "A dog barks when a stranger comes to the door."),
        ("rain", "water", "Cold rain fell on the roof all night long."),
        ("sun", "light", "The sun rises in the east every morning."),
        ("bread", "flour", "Fresh bread smells wonderful early in the morning."),
        ("school", "students", "My school is a short walk from our house."),
        ("winter", "cold", "In winter the nights are long and quiet."),
        ("train", "tracks", "The train to the city leaves at noon."),
        ("book", "read", "This book tells the story of a young king."),
        ("cheese", "milk", "We had cheese and olives for lunch."),
        ("horse", "ride", "The brown horse ran across the field."),
        ("bed", "sleep", "My bed stands under the window."),
        ("coffee", "drink", "He made coffee for everyone at work."),
        ("mountain", "high", "There is snow on the mountain until May."),
        ("phone", "call", "Her phone rang in the middle of the film."),
        ("birthday", "cake", "For her birthday she wished for a red bicycle."),
        ("garden", "plants", "We sat in the garden until it was dark."),
        ("cat", "pet", "The cat watched us from the window."),
        ("ship", "ocean", "A white ship came slowly into the harbor."),
        ("ice", "frozen", "There was ice on the road this morning."),
        ("king", "kingdom", "The old king had three daughters."),
        ("river", "flow", "We crossed the river on a narrow bridge."),
        ("fire", "flames", "They sat around the fire and told stories."),
    ),
    kinds=("animal", "fruit", "sport", "color"),
    numbers=tuple(number for number in range(10, 100) if number % 3),
)

HELDOUT = Material(
    objects=_split(
        "armchair axe ball balloon barrel battery bicycle bookcase calculator camera canoe cart compass crown"
        " cushion drawer freezer hose iron kite lantern laptop magnet marble mattress mop notebook parcel purse"
        " raft ribbon robot scarf scooter spade stool stove tray truck tub typewriter whistle"
    ),
    adjectives=_split("dusty huge tiny modern ugly simple fancy rusty square golden broken lovely"),
    opposites=(
        ("long", ("short", "brief")),
        ("strong", ("weak",)),
        ("first", ("last",)),
        ("loud", ("quiet", "silent")),
        ("win", ("lose",)),
        ("north", ("south",)),
        ("near", ("far", "distant")),
        ("good", ("bad", "evil")),
        ("hard", ("soft", "easy")),
        ("remember", ("forget",)),
        ("above", ("below", "under", "beneath")),
        ("alive", ("dead",)),
        ("always", ("never",)),
        ("before", ("after",)),
        ("cheap", ("expensive",)),
        ("deep", ("shallow",)),
        ("thick", ("thin",)),
        ("wide", ("narrow",)),
    ),
    taboos=(
        ("pizza", "dough", "We ordered a large pizza with mushrooms."),
        ("moon", "stars", "The moon shone brightly over the hills."),
        ("car", "drive", "A red car stopped in front of the bank."),
        ("summer", "weather", "Every summer we visit our aunt by the lake."),
        ("hospital", "patients", "The new hospital opened shortly after Easter."),
        ("tree", "leaves", "An old tree stands behind the church."),
        ("airplane", "fly", "The airplane landed ten minutes early."),
        ("song", "music", "She wrote this song for her grandmother."),
        ("beach", "sand", "We walked along the beach before breakfast."),
        ("baby", "cry", "The baby laughed when she saw the puppy."),
        ("sugar", "sweet", "Please buy two bags of sugar on your way home."),
        ("library", "books", "The library closes at six on Fridays."),
        ("castle", "knights", "The castle on the hill is open to visitors."),
        ("island", "sea", "Nobody has lived on the island for years."),
        ("bridge", "road", "The old bridge was painted last spring."),
        ("chess", "game", "My cousins play chess every Sunday."),
    ),
    kinds=("vegetable", "musical instrument", "job", "flower"),
    numbers=tuple(range(12, 100, 3)),
)
