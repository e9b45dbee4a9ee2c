"""What the checkable tasks are made of: words and numbers, parted once and for all into train and held-out ones.

Nothing in `TRAIN` is in `HELDOUT`, whatever field it stands in. `KINDS` tells checkers which words name which kind of
thing.
"""

from __future__ import annotations

from dataclasses import dataclass

KINDS: dict[str, frozenset[str]] = {
    "animal": frozenset(
        "ant bat bear bee bird butterfly camel cat chicken cow crab crocodile deer dog dolphin donkey duck eagle elephant"
        " fish fox frog giraffe goat goose gorilla hamster hippo horse kangaroo koala leopard lion lizard monkey mouse"
        " octopus otter owl panda parrot penguin pig pony rabbit rat rhino seal shark sheep snake spider squirrel swan"
        " tiger turkey turtle whale wolf zebra".split()
    ),
    "fruit": frozenset(
        "apple apricot avocado banana blackberry blueberry cherry coconut cranberry date fig grape grapefruit guava kiwi"
        " lemon lime lychee mango melon nectarine orange papaya peach pear pineapple plum pomegranate raspberry"
        " strawberry watermelon".split()
    ),
    "sport": frozenset(
        "archery badminton baseball basketball bowling boxing cricket cycling fencing football golf gymnastics handball"
        " hockey judo karate rowing rugby running sailing skating skiing soccer softball surfing swimming tennis"
        " volleyball wrestling".split()
    ),
    "color": frozenset(
        "beige black blue brown crimson cyan gold gray green grey indigo magenta maroon orange pink purple red silver"
        " teal turquoise violet white yellow".split()
    ),
    "vegetable": frozenset(
        "artichoke asparagus beet beetroot broccoli cabbage carrot cauliflower celery corn cucumber eggplant garlic kale"
        " leek lettuce onion parsnip pea pepper potato pumpkin radish spinach squash tomato turnip zucchini".split()
    ),
    "musical instrument": frozenset(
        "accordion banjo bassoon bugle cello clarinet cymbals drum drums fiddle flute guitar harmonica harp keyboard"
        " mandolin oboe organ piano piccolo recorder saxophone tambourine trombone trumpet tuba ukulele viola violin"
        " xylophone".split()
    ),
    "job": frozenset(
        "accountant actor architect artist baker barber butcher carpenter chef cook dentist designer doctor driver"
        " electrician engineer farmer firefighter journalist judge lawyer mechanic nurse painter pilot plumber police"
        " scientist secretary singer soldier tailor teacher waiter writer".split()
    ),
    "flower": frozenset(
        "carnation chrysanthemum crocus daffodil dahlia daisy geranium hibiscus hyacinth iris jasmine lavender lilac lily"
        " lotus magnolia marigold orchid pansy peony petunia poppy primrose rose snowdrop sunflower tulip".split()
    ),
}
"""Kind -> words that name one. No list is whole, but each holds what first comes to mind."""


@dataclass(frozen=True)
class Material:
    """What one split draws its parameters from."""

    objects: tuple[str, ...]
    """Things that can stand somewhere and be looked at, each one word after `the`."""
    adjectives: tuple[str, ...]
    openings: tuple[str, ...]
    """Adverbs that can begin a sentence in the past tense."""
    opposites: tuple[tuple[str, tuple[str, ...]], ...]
    """Words with the opposites that are right; the first is the usual one."""
    taboos: tuple[tuple[str, str, str], ...]
    """Topic, a word that comes to mind with it, and a sentence about the topic without that word."""
    kinds: tuple[str, ...]
    """Keys of `KINDS`."""
    numbers: tuple[int, ...]
    """Whole numbers of two digits."""


TRAIN = Material(
    objects=tuple(
        "anchor arrow basket bell bench blanket boat bottle bowl box bridge brush bucket button candle carpet castle chair"
        " clock coat coin cup curtain desk door dress engine envelope fence flag fork garden gate glove guitarcase hammer"
        " hat helmet hotel island jacket kettle key kitchen knife ladder lamp letterbox lock map mirror mountain museum"
        " nail needle oven paddle painting pencil pillow plate pocket puddle river rocket roof rope saddle sandal school"
        " shelf shoe shovel sofa spoon statue stone suitcase table telescope tent ticket towel tower train umbrella"
        " vase village wagon wallet watch wheel window".split()
    ),
    adjectives=tuple(
        "old new big small cold warm soft heavy quiet bright clean dusty empty round broken plain wooden shiny narrow"
        " tall".split()
    ),
    openings=tuple(
        "Yesterday Suddenly Finally Luckily Slowly Quietly Eventually Soon Later Afterwards Surprisingly Overnight"
        " Recently Strangely Sadly Happily".split()
    ),
    opposites=(
        ("hot", ("cold", "cool")),
        ("up", ("down",)),
        ("day", ("night",)),
        ("open", ("closed", "close", "shut")),
        ("fast", ("slow",)),
        ("happy", ("sad", "unhappy")),
        ("left", ("right",)),
        ("wet", ("dry",)),
        ("light", ("dark", "heavy", "darkness")),
        ("early", ("late",)),
        ("rich", ("poor",)),
        ("full", ("empty",)),
        ("inside", ("outside",)),
        ("hard", ("soft", "easy")),
        ("love", ("hate", "hatred")),
        ("true", ("false", "untrue")),
        ("begin", ("end", "finish")),
        ("buy", ("sell",)),
        ("push", ("pull",)),
        ("remember", ("forget",)),
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
        ("garden", "flowers", "We grow beans and herbs in the garden."),
        ("cat", "pet", "The cat watched a bird from the window."),
        ("ship", "ocean", "A white ship came slowly into the harbor."),
    ),
    kinds=("animal", "fruit", "sport", "color"),
    numbers=tuple(number for number in range(10, 100) if number % 3),
)

HELDOUT = Material(
    objects=tuple(
        "balloon barn barrel bicycle bus cabin camera canoe cart church closet compass crown cushion drawer"
        " drawbridge fountain freezer hose kite lantern library mailbox market marble notebook palace"
        " parcel pond pot purse raft ribbon scarf scooter signpost spade stool stove tray truck tunnel"
        " typewriter valley wardrobe whistle".split()
    ),
    adjectives=tuple("young dark dry sharp loud dirty square modern thick short hidden rusty golden lonely".split()),
    openings=tuple("Today Gradually Fortunately Silently Thankfully Meanwhile Unexpectedly Sometimes Earlier".split()),
    opposites=(
        ("long", ("short", "brief")),
        ("black", ("white",)),
        ("strong", ("weak",)),
        ("young", ("old",)),
        ("first", ("last",)),
        ("loud", ("quiet", "silent", "soft")),
        ("win", ("lose",)),
        ("north", ("south",)),
        ("big", ("small", "little")),
        ("near", ("far", "distant")),
        ("clean", ("dirty", "unclean")),
        ("good", ("bad", "evil")),
    ),
    taboos=(
        ("pizza", "cheese", "We ordered a large pizza with mushrooms."),
        ("moon", "night", "The moon shone brightly over the hills."),
        ("car", "drive", "A red car stopped in front of the bank."),
        ("summer", "hot", "Every summer we visit our aunt by the lake."),
        ("doctor", "patients", "The doctor arrived shortly after six."),
        ("tree", "leaves", "An old tree stands behind the church."),
        ("bird", "fly", "A small bird sang outside my window."),
        ("piano", "music", "The piano in the hall needs to be tuned."),
        ("beach", "sand", "We walked along the beach before breakfast."),
        ("baby", "cry", "The baby laughed when she saw the puppy."),
    ),
    kinds=("vegetable", "musical instrument", "job", "flower"),
    numbers=tuple(range(12, 100, 3)),
)
