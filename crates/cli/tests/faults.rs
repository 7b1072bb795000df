//! The faults that were found by trying: what users of neighbouring tools report, kills, damaged files, a new user, other programs.
//! Each is a *kind*, and each test fails at c4163c3. What another kind of test holds is named here all the same; `faults/` stands for
//! `crates/cli/tests/faults/`. What could not be wrong there, since a mend made it possible, holds that mend: the lock in `a_corpus_that_was_killed_when_it_was_whole`
//! (c4163c3 fails by the word that is missing), the thread in `the_end_by_a_signal_is_waited_for` (c4163c3 ends at once, without results).
//!
//! | entry | test | places looked through |
//! |---|---|---|
//! | F1 | `faults/export.rs::two_tables_where_config_json_says_one`, `crates/model/tests/hugging_face.rs::tied_tables`, `configurations_that_contradict_the_tensors` | every reader of `config.json` (`read`, `plan`, checkpoints, branch, export), every tensor of every file |
//! | F2, N2 | `faults/export.rs::an_export_names_class_and_tokens`, `tokens_of_other_names`, `what_lies_beside_a_tokenizer_survives`, `runs_without_files_beside_the_tokenizer`, `a_damaged_file_beside_the_tokenizer`; with transformers: `golden/export_check.py` | export of runs and of directories, checkpoints, resume, branch, runs of older versions |
//! | F3 | `faults/images.rs::classes_of_another_set_are_matched_by_name`, `a_run_is_judged_on_its_own_images`, `crates/data/tests/images.rs::classes_by_name_and_in_the_order_of_numbers` | `verify --data`, `verify` and `inspect` of a run's own set, `branch`, `plan --from`, `resume`, `init.from`, sweeps |
//! | F4 | `faults/text.rs::a_pair_joined_without_its_documents` | Megatron pairs in `data info`, train, branch, `eval` |
//! | F5, R10 | `crates/data/tests/prepare.rs::what_a_file_unpacks_to_is_bounded`, `crates/data/tests/images.rs::headers_of_idx_are_held_against_a_limit`, `headers_of_packed_images_are_held_against_a_limit` | plain, gzip and zstd text; idx, packed and CIFAR-10 files |
//! | F6 | `faults/text.rs::utf16_is_named`, `crates/data/src/text/lines.rs::encodings` | `.txt`, `.jsonl`, `.gz`, `.zst`, memory: one reader for all |
//! | F7 | `faults/text.rs::the_end_of_document_can_be_chosen` | every place that opens a tokenizer |
//! | F8 | `faults/lm.rs::another_tokenizer_than_that_of_the_weights_is_refused` | train from a directory, branch, `eval`, `sample` |
//! | F9 | `faults/text.rs::what_a_tokenizer_cannot_spell`, `faults/report.rs::f9_a_report_says_why_bits_per_byte_are_missing` | the one road to token files, header, `evaluate`, `data info`, sources and sets of a run, reports |
//! | F11, A1, A10 | `faults/text.rs::bad_lines`, `an_old_resolved_recipe_is_read`, `crates/data/tests/prepare.rs::bad_lines_are_counted_by_kind`, `crates/data/src/text/json_line.rs` | every reader of JSON lines; the key in files, `--set`, resolved recipes, branches, hashes of sweeps |
//! | F14 | `faults/export.rs::weights_beyond_the_range_of_f16`, `weights_too_small_for_f16`, `crates/model/tests/hugging_face.rs` | the one writer of safetensors: export, checkpoints, moments, `bench` |
//! | F16 | `faults/lm.rs::the_limit_of_an_evaluation_is_kept_inside_a_document`, `crates/data/tests/stream.rs::every_token_but_the_first_is_predicted_once` | `eval`, evaluations of training |
//! | F18, R15 | `faults/runs.rs::a_directory_whose_name_ends_like_a_checkpoint` | the one parser of run names |
//! | F19, A2 | `faults/text.rs::folders_of_text`, `faults/images.rs::files_that_are_not_read_are_counted`, `crates/data/tests/prepare.rs::folders_tell_what_they_pass_over`, `crates/data/tests/images.rs::what_is_not_read_is_counted` | folders, globs, files, names of a hub; class folders, TinyImageNet |
//! | F20, R14, R22 | `faults/lm.rs::sets_of_any_name_have_a_folder_of_their_own` | `eval`, texts of sweeps, `doctor`, `data/` of a run |
//! | A3 | `faults/report.rs::a3_an_infinite_perplexity_is_the_same_word_everywhere` | `eval`, `metrics.jsonl`, reports, files of sweeps |
//! | A4 | `crates/model/tests/hugging_face.rs::the_index_decides_where_copies_are_read` | a file beside an index, a wrong file, tensors in several files |
//! | A5 | `crates/data/tests/images.rs::images_below_the_folder_that_was_named` | idx, CIFAR-10, TinyImageNet, trees |
//! | A6 | `crates/data/tests/images.rs::classes_by_name_and_in_the_order_of_numbers`, `faults/verify.rs::counterexamples_are_kept` | trees; names in `verdicts.csv` and `radii.csv` |
//! | A7 | `crates/data/tests/images.rs::a_name_makes_nothing_known`, `faults/images.rs::a_folder_called_cifar_10_is_not_cifar_10`, `the_name_of_a_folder_decides_no_normalisation` | every format of images |
//! | A8 | `crates/data/tests/images.rs::colour_in_a_tree` | within a split, across splits |
//! | A9 | `faults/lm.rs::another_tokenizer_than_that_of_the_weights_is_refused`, `text_beyond_the_positions_is_told` | train, branch, `eval`, `sample` |
//! | R1 | `faults/lm.rs::token_files_that_changed_are_refused`, `a_manifest_without_hashes_is_read` (compatibility), `crates/data/tests/stream.rs::files_are_known_by_content` | sources, nested replay, validation sets; train, branch, resume, `eval` |
//! | R2, c | `faults/text.rs::half_a_corpus_is_none`, `crates/data/tests/prepare.rs::half_a_corpus_is_replaced` | `data prepare`, its renames and signals |
//! | R3 | `faults/verify.rs::an_unwritten_question_is_asked_again` | everything that `verify` writes |
//! | R4 | `crates/base/tests/files.rs`, `crates/model/tests/hugging_face.rs::half_an_export_is_none`; a power cut itself: every file of a run goes through `temper_base::files` | run, manifests, `best.json`, exports, pages of sweeps, reports |
//! | R5 | `faults/runs.rs::a_run_that_is_moved_while_it_trains_stops`, `crates/record/tests/run.rs::a_directory_that_was_replaced_is_not_written` | every checkpoint of both tasks |
//! | R6, d | `faults/lm.rs::names_of_a_manifest_never_become_paths`, `old_sets_and_new_sources_never_share_a_file`, `crates/model/tests/hugging_face.rs::damaged_shards` | the manifest's reader, copies of sets, `weight_map` |
//! | R7 | `crates/data/src/text/tokenizer_file.rs::a_panic_is_an_error` (the guard with a panic of its own) | loading, encoding, decoding |
//! | R8, R17 | `crates/data/src/text/tokenizer_file.rs::ids_are_bounded_before_anyone_takes_memory_for_them`, `faults/text.rs::vocabularies_are_bounded`, `crates/model/tests/hugging_face.rs::damaged_files` | vocabulary and added tokens, `train-tokenizer`, headers and configurations of models |
//! | R9 | `faults/lm.rs::arguments_need_not_be_utf8` | the one place that reads arguments |
//! | R11 | `crates/data/tests/images.rs::pictures_are_refused_by_their_headers` | PNG, JPEG |
//! | R12 | `faults/report.rs::a_report_that_was_cut_is_made_again` | reports, pages of sweeps |
//! | R13 | `crates/base/tests/files.rs::no_link_is_followed_and_others_may_read` | every writer, unpacking of `data fetch` |
//! | R16, f | `faults/runs.rs::threads_are_bounded`, `a_system_without_threads_is_an_error` | the program's pool, the thread of signals; pools and workers of sweeps, threads that read: by strace, no test |
//! | R18, R19 | `faults/runs.rs::control_characters_do_not_reach_the_terminal`, `errors_quote_no_more_than_can_be_read`, `a_key_that_is_missing_from_a_run_is_reported_there`, `samples_on_a_terminal`, `faults/images.rs::names_of_classes_are_shown` | everything that is printed, every error |
//! | R20 | `faults/runs.rs::a_run_that_was_only_begun_is_begun_again`, `a_run_that_was_killed_before_its_first_checkpoint_is_begun_again`, `the_end_by_a_signal_is_waited_for`, `bitwise.rs::a_run_that_does_not_train_yet_stops_at_once`, `sweep.rs::killed_at_ten_moments` | train and branch, signals and kills before checkpoint 0, sweeps |
//! | R21 | `faults/verify.rs::a_signal_abandons_the_batch` | steps of the attack, queries, passes, halvings of radii |
//! | a, b, g | `crates/record/tests/run.rs::the_way_on_fits_what_there_is`, `tables_that_failed_in_passing_are_whole_at_the_end`, `faults/runs.rs::every_checkpoint_has_its_event_once` | checkpoints, tables, TensorBoard |
//! | N1 | `faults/report.rs::n1_a_run_from_a_directory_is_no_branch`, `readme_walk.rs::the_seven_steps` | old and new data of every report |
//! | N3, N4 | `faults/runs.rs::a_signal_is_answered_during_an_evaluation`, `an_evaluation_is_abandoned_at_the_deadline_and_made_again`, `lengths_of_time_as_people_write_them`, `until_continues_what_max_steps_stopped`, `the_end_that_was_told_last_is_the_end`, `phases_of_a_classifier_whose_end_moved`, `a_signal_is_answered_in_the_middle_of_an_attack`, `the_first_update_of_a_sitting_is_known_from_the_record`, `the_first_update_is_not_begun_if_it_cannot_end`, `crates/lm/tests/golden.rs::a_part_that_is_refused_undoes_the_update` and that of `crates/certify`, `more_updates_than_there_are` | train, resume, branch; the one option that takes a time |
//! | N5 | `faults/report.rs::n5_a_plan_looks_at_the_data`, `a_plan_refuses_what_a_start_refuses`, `a_plan_of_certified_training_looks_at_the_data`, `a_plan_of_certified_training_refuses_what_a_start_refuses` | `plan` of both tasks, with and without `--from`: the checks are those of the starts |
//! | N6 | `faults/verify.rs::a_quick_look_blocks_nothing`, `options_without_a_use_are_refused` | every setting that decides a verdict, every option of `verify` |
//! | N7 | `crates/report/tests/report.rs::dots_stay_inside_their_panels`, `narrow_figures_stay_inside`, `tables_of_texts_name_their_cells`, `ticks_over_many_powers_of_ten_are_short`; pages looked at in a browser at 1280 and 420 px: a chain of runs, branches, a sweep with claims, a classifier | every figure and table but the grid of layers, which scrolls |
//! | N8 | `faults/images.rs::batch_norm_is_recorded_as_it_is`, `faults/lm.rs::a_branch_has_no_first_weights_of_its_own`, `faults/report.rs::n8_the_list_of_sweeps_is_json_where_it_is_asked_for` | |
//! | load | `crates/record/tests/events.rs::the_updates_of_a_long_run_are_merged`, `faults/report.rs::a_long_run_is_thinned_and_the_page_says_so`, `crates/report/tests/report.rs::thousands_of_sets_are_bounded` | every reader of a record |
//! | d (links), e, h | `faults/runs.rs::nothing_is_written_through_links_out_of_a_run`, `faults/report.rs::a_name_is_no_formula`, `crates/data/tests/token_files.rs::files_that_are_cut_while_they_are_open` | everything that resume, report and verify write through; every CSV file; shards and pairs |
//! | found by a new user | `faults/text.rs::a_text_that_is_named_twice`, `a_validation_set_that_is_trained_on`, `crates/data/tests/prepare.rs::a_wrong_key_names_the_right_ones`, `faults/runs.rs::commands_that_are_named_can_be_pasted`, `an_evaluation_stops_at_bad_lines_if_asked_to`, `token_files_whose_documents_end_otherwise_are_refused`, `faults/report.rs::one_number_is_written_in_one_way`, `a_report_of_a_run_that_was_stopped_says_of_which_step_it_is`, `bad_input.rs::results_that_cannot_be_written` | |
//! | found by the kill campaign | `crates/base/tests/files.rs::what_a_kill_left_is_removed_by_the_next_writer_of_the_file`, `faults/runs.rs::a_corpus_that_was_killed_when_it_was_whole`, `crates/model/tests/hugging_face.rs::half_an_export_is_none` | the one writer of whole files; `data prepare`; exports |
//! | friction | `faults/report.rs::a_chain_has_one_axis_and_a_table_of_corpus_by_stage`, `faults/images.rs::the_layers_of_a_graph_are_documented`, `faults/lm.rs::the_best_checkpoint_by_few_documents_is_warned_of` | |
//! | P1 | documents: ARCHITECTURE.md, `verify --help`, `docs/running.md` | |
//! | P2 | `crates/bounds/tests/plain_sums.rs`, `crates/kernels/tests/conv.rs::plain_sums_beside_a_large_row` | verdicts, radii, evaluations, `inspect`, gains |
//! | P3 | `crates/bounds/tests/attacks.rs`; against AutoAttack: `scripts/attack_yardstick.py` | `verify`, evaluations |
//! | P4 | `crates/schedule/tests/conventions.rs::neox_linear_aims_at_zero` | |
//! | P5 | the sentence in ARCHITECTURE.md | |
//! | fuzzing | `crates/schedule/tests/length.rs`, `crates/data/tests/stream.rs::a_document_that_ends_beyond_the_tokens_is_damage` | |

mod common;

#[path = "faults/export.rs"]
mod export;
#[path = "faults/images.rs"]
mod images;
#[path = "faults/lm.rs"]
mod lm;
#[path = "faults/report.rs"]
mod report;
#[path = "faults/runs.rs"]
mod runs;
#[path = "faults/text.rs"]
mod text;
#[path = "faults/verify.rs"]
mod verify;
