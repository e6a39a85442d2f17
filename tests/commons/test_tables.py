"""A table reads the same in a terminal and in Markdown."""

from commons.tables import aligned


def test_columns_line_up_and_numbers_go_right():
    rows = [{"layer": "conv1", "share": 0.123456, "epoch": 3}, {"layer": "a|b", "share": None, "epoch": 12}]
    lines = aligned(rows).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1] == "|-------|-------:|------:|"
    assert lines[2] == "| conv1 | 0.1235 |     3 |"
    assert lines[3] == "| a\\|b  |      – |    12 |"


def test_no_rows_make_no_table():
    assert aligned([]) == ""
