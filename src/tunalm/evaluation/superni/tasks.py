"""The 119 English test tasks of Super-NaturalInstructions, by category."""

from __future__ import annotations

from collections.abc import Mapping

_BY_CATEGORY = {
    "Textual Entailment": """
        task190_snli_classification
        task199_mnli_classification
        task200_mnli_entailment_classification
        task201_mnli_neutral_classification
        task202_mnli_contradiction_classification
        task640_esnli_classification
        task641_esnli_classification
        task642_esnli_classification
        task738_perspectrum_classification
        task890_gcwd_classification
        task935_defeasible_nli_atomic_classification
        task936_defeasible_nli_snli_classification
        task937_defeasible_nli_social_classification
        task970_sherliic_causal_relationship
        task1344_glue_entailment_classification
        task1385_anli_r1_entailment
        task1386_anli_r2_entailment
        task1387_anli_r3_entailment
        task1388_cb_entailment
        task1516_imppres_naturallanguageinference
        task1529_scitail1.1_classification
        task1554_scitail_classification
        task1612_sick_label_classification
        task1615_sick_tclassify_b_relation_a
    """,
    "Cause Effect Classification": """
        task391_causal_relationship
        task392_inverse_causal_relationship
        task393_plausible_result_generation
        task614_glucose_cause_event_detection
        task827_copa_commonsense_reasoning
        task828_copa_commonsense_cause_effect
        task1393_superglue_copa_text_completion
    """,
    "Coreference Resolution": """
        task033_winogrande_answer_generation
        task133_winowhy_reason_plausibility_detection
        task249_enhanced_wsc_pronoun_disambiguation
        task304_numeric_fused_head_resolution
        task329_gap_classification
        task330_gap_answer_generation
        task401_numeric_fused_head_reference
        task648_answer_generation
        task891_gap_coreference_resolution
        task892_gap_reverse_coreference_resolution
        task893_gap_fill_the_blank_coreference_resolution
        task1390_wscfixed_coreference
        task1391_winogrande_easy_answer_generation
        task1664_winobias_text_generation
    """,
    "Dialogue Act Recognition": """
        task362_spolin_yesand_prompt_response_sub_classification
        task879_schema_guided_dstc8_classification
        task880_schema_guided_dstc8_classification
        task1394_meta_woz_task_classification
        task1531_daily_dialog_type_classification
        task1533_daily_dialog_formal_classification
        task1534_daily_dialog_question_classification
    """,
    "Answerability Classification": """
        task020_mctaco_span_based_question
        task050_multirc_answerability
        task226_english_language_answer_relevance_classification
        task232_iirc_link_number_classification
        task233_iirc_link_exists_classification
        task242_tweetqa_classification
        task290_tellmewhy_question_answerability
        task349_squad2.0_answerable_unanswerable_question_classification
        task520_aquamuse_answer_given_in_passage
        task1439_doqa_cooking_isanswerable
        task1442_doqa_movies_isanswerable
        task1624_disfl_qa_question_yesno_classification
        task1640_aqa1.0_answerable_unanswerable_question_classification
    """,
    "Word Analogy": """
        task1152_bard_analogical_reasoning_causation
        task1153_bard_analogical_reasoning_affordance
        task1154_bard_analogical_reasoning_travel
        task1155_bard_analogical_reasoning_trash_or_treasure
        task1156_bard_analogical_reasoning_tools
        task1157_bard_analogical_reasoning_rooms_for_containers
        task1158_bard_analogical_reasoning_manipulating_items
        task1159_bard_analogical_reasoning_containers
    """,
    "Overlap Extraction": """
        task039_qasc_find_overlapping_words
        task281_points_of_correspondence
    """,
    "Keyword Tagging": """
        task036_qasc_topic_word_to_generate_related_fact
        task613_politifact_text_generation
        task620_ohsumed_medical_subject_headings_answer_generation
        task623_ohsumed_yes_no_answer_generation
        task645_summarization
    """,
    "Question Rewriting": """
        task034_winogrande_question_modification_object
        task035_winogrande_question_modification_person
        task121_zest_text_modification
        task402_grailqa_paraphrase_generation
        task442_com_qa_paraphrase_question_generation
        task670_ambigqa_question_generation
        task671_ambigqa_text_generation
        task1195_disflqa_disfluent_to_fluent_conversion
        task1345_glue_qqp_question_paraprashing
        task1562_zest_text_modification
        task1622_disfl_qa_text_modication
    """,
    "Title Generation": """
        task219_rocstories_title_answer_generation
        task220_rocstories_title_classification
        task288_gigaword_summarization
        task418_persent_title_generation
        task500_scruples_anecdotes_title_generation
        task510_reddit_tifu_title_summarization
        task569_recipe_nlg_text_generation
        task602_wikitext-103_answer_generation
        task619_ohsumed_abstract_title_generation
        task743_eurlex_summarization
        task769_qed_summarization
        task1161_coda19_title_generation
        task1342_amazon_us_reviews_title
        task1356_xlsum_title_generation
        task1358_xlsum_title_generation
        task1540_parsed_pdfs_summarization
        task1586_scifact_title_generation
        task1659_title_generation
    """,
    "Data to Text": """
        task102_commongen_sentence_generation
        task677_ollie_sentence_answer_generation
        task760_msr_sqa_long_text_generation
        task957_e2e_nlg_text_generation_generate
        task1407_dart_question_generation
        task1409_dart_text_generation
        task1598_nyc_long_text_generation
        task1631_openpi_answer_generation
        task1728_web_nlg_data_to_text
    """,
    "Grammar Error Correction": """
        task1557_jfleg_answer_generation
    """,
}

CATEGORIES: Mapping[str, str] = {task: category for category, names in _BY_CATEGORY.items() for task in names.split()}
"""Test task -> category."""

BY_EXACT_MATCH = frozenset(
    {
        "Textual Entailment",
        "Cause Effect Classification",
        "Coreference Resolution",
        "Dialogue Act Recognition",
        "Answerability Classification",
        "Word Analogy",
    }
)
"""Categories that are reported by exact match; the others are by ROUGE-L."""

NUM_INSTANCES = 11_810
"""Rows of the official test set; most tasks have 100."""
ROWS_PER_TASK = 100
"""The first so many instances of a task are its test rows."""
