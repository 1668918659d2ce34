"""Which stories make no sense with a server that differs, and why: a long form leaves them out.

`ASYNCSDK_TEST_SERVER='{"parts_in_order": true}' pytest tests/stories/test_upload_*.py` runs all others with one.
"""

from __future__ import annotations

from collections.abc import Mapping

# by the option of the server: the names of tests, or of their modules
LEFT_OUT: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "parts_in_order": {
        "needs several connections": (
            "test_upload_adapting",
            "test_parts_go_at_the_same_time_but_never_more_than_allowed",
            "test_settings_out_of_range_are_refused",
            "test_after_a_413_all_connections_go_on_with_smaller_parts",
            "test_an_upload_of_a_path_says_that_it_resumes_and_does",
            "test_a_stop_lets_what_is_under_way_end_well_and_begins_nothing",
            "test_what_ended_and_was_not_read_is_there_once_the_block_is_left",
            "test_a_stream_that_stalls_lets_others_begin",
            "test_streams_that_stall_give_their_memory_to_others",
            "test_parts_that_a_stall_made_shorter_are_found_again_though_it_stalls_in_one_of_them",
            "test_a_stream_is_read_no_further_than_three_parts_ahead_of_the_hashing",
            "test_else_the_error_says_how",
        ),
        "sends a part after a later one, which such a server refuses at complete": (
            "test_one_byte_changed_in_what_was_sent_costs_one_part",
            "test_of_an_upload_that_goes_on_only_what_was_sent_before_is_read_again",
            "test_what_differs_from_what_was_sent_goes_again",
            "test_parts_that_are_too_large_for_the_server_are_cut_in_memory",
        ),
    },
    "created_at": {
        "finds a lost file by the created_at of its upload, which is its own only if both are of one second": (
            "test_a_gateway_that_asks_twice_by_itself_hides_no_file",
            "test_a_last_409_may_have_acted_so_its_file_is_looked_for",
            "test_a_lost_answer_then_refused_is_found_in_the_listing",
            "test_a_completed_answer_without_its_file_is_looked_up",
            "test_what_says_completed_or_cancelled_is_not_taken_for_gone_while_the_list_is_late",
            "test_a_strangers_file_beside_ours_hides_nothing",
            "test_a_listing_in_another_order_proves_nothing_before_it_was_read_whole",
            "test_of_two_alike_the_one_known_to_be_another_upload_is_ruled_out",
            "test_files_that_the_same_path_became_before_are_ruled_out",
        ),
    },
    "upload_ttl": {
        "is about what comes after the hour": (
            "test_long_after_its_hour_an_unlisted_file_was_surely_not_made",
            "test_not_being_able_to_look_makes_no_second_file",
            "test_no_part_is_sent_after_the_hour",
            "test_an_upload_past_its_hour_begins_afresh",
            "test_a_last_409_may_have_acted_so_its_file_is_looked_for",
        ),
    },
}


def why_left_out(module: str, test: str, options: Mapping[str, object]) -> str | None:
    """Why a test makes no sense with a server of these options; None where it does."""
    for option in options:
        for reason, names in LEFT_OUT.get(option, {}).items():
            if module in names or test in names:
                return f"{option}: {reason}"
    return None
