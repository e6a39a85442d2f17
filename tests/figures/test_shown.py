"""What the report shows of a table: the numbers of the file in fewer columns and digits."""

from fixtures.report import ARMS

from figures.published import TABLES
from figures.shown import arms, phases, published, summaries


def test_an_arm_is_shown_with_intervals_and_a_bound_of_p() -> None:
    plain, other = arms(ARMS)
    assert plain["difference from plain"] == plain["p"] == plain["gap closed"] == "–"
    assert plain["relative loss"] == "0.172 ± 0.037"
    assert other["difference from plain"] == "-0.012 ± 0.008"
    assert (other["p"], other["gap closed"]) == ("< 0.001", "0 %")


def test_networks_that_diverged_are_told_and_their_column_is_not_there_without_one() -> None:
    assert "diverged" not in arms(ARMS)[0]
    assert [row["diverged"] for row in arms([*ARMS, ARMS[0] | {"diverged": "3"}])] == ["0", "0", "3"]


def test_a_number_of_seeds_is_left_out_only_where_all_have_it() -> None:
    rows = [
        {"model": "mlp", "x": "1.0 ± 0.1 (n=5)"},
        {"model": "cnn", "x": "2.0 ± 0.1 (n=5)"},
        {"model": "mlp", "x": ""},
    ]
    assert [row["model"] for row in summaries(rows)] == ["mlp", "mlp", "cnn"]
    assert summaries(rows)[0]["x"] == "1.0 ± 0.1"
    mixed = [rows[0], rows[1] | {"x": "2.0 ± 0.1 (n=4)"}]
    assert summaries(mixed)[0]["x"] == "1.0 ± 0.1 (n=5)"


def test_phases_and_published_numbers_are_written_for_people() -> None:
    (row,) = phases([{"flow": "Sign-In, beta_a > beta_w", "starts": 65536, "agreement": 1.0}])
    assert row == {"flow": "Sign-In, β_a > β_w", "starts": "65,536", "agreement": "100 %"}
    for table in TABLES:
        for row, values in zip(published(table), table.rows.values(), strict=True):
            assert [float(row[column]) for column in table.columns] == list(values)
            assert all(len(row[column].partition(".")[2]) == 2 for column in table.columns)
