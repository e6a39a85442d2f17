"""The explorer's second tab: the signs of a run, as the history has them."""

from pathlib import Path

import numpy as np
import pytest
from fixtures.chromium import PROGRAM, chromium

from figures import run_signs
from figures.__main__ import main
from figures.run_signs import signs_of_run
from sparse_training.runs.config import Config
from sparse_training.signs import flip_table, history_of
from sparse_training.training.loop import train


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("signs") / "a <run>"
    train(Config.preset("digits-mlp").with_set(["epochs=3", "batch_size=256", "mask.density=0.1"]), path)
    return path


def test_a_large_layer_is_shown_by_some_of_its_rows_and_columns(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_signs, "CELLS", 1000)
    first = signs_of_run(folder)["layers"][0]
    assert first["shape"] == [300, 64]
    assert first["every"] == 5
    assert (first["rows"], first["columns"]) == (60, 13)


@pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium here")
def test_the_page_shows_every_count_of_the_history(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "run.html"
    assert main(["explorer", str(folder), "--out", str(page)]) == 0
    table = flip_table(history_of(folder))
    with chromium() as tab:
        tab.open(page)
        tab.look(1000)
        tab.evaluate(
            "new Promise(done => { const wait = () => (view.image ? done(0) : setTimeout(wait, 20)); wait() })"
        )
        assert tab.evaluate("run.name") == "a <run>"
        for i, (name, flips) in enumerate(table.flips.items()):
            tab.evaluate(f"showLayer({i})")
            shown = np.array(tab.evaluate(f"[...run.layers[{i}].flips]")).reshape(flips.shape)
            last = np.array(tab.evaluate(f"[...run.layers[{i}].last]")).reshape(flips.shape)
            assert np.array_equal(shown, flips)
            assert np.array_equal(last == run_signs.INACTIVE, ~table.active[name])
            assert np.array_equal(last[table.active[name]] - 1, table.last_flip[name][table.active[name]])
        row, column = np.argwhere(table.active[name] & (flips > 0))[0]
        tab.evaluate(f"Object.assign(view, {{ row: {row}, column: {column} }}); drawSigns()")
        told = tab.evaluate("byId('weight').textContent")
        times = {1: "once"}.get(int(flips[row, column]), f"{flips[row, column]} times")
        assert f"{name}, row {row} of 10, column {column} of 100: flipped {times}" in told
        share = 100 * next(r for r in table.rows if (r.layer, r.epoch) == (name, 3)).row()["since_init"]
        assert f"Epoch 3, {name}: {share:.1f} % flipped" in tab.evaluate("byId('epoch').textContent")
        most = flips[table.active[name]].max()
        assert tab.evaluate("byId('flips-most').textContent") == f"{most} flip{'s' if most > 1 else ''}"
        assert tab.evaluate("byId('flips-key').style.background").count("rgb(") == most + 1
        moved = """(() => {
          const drawn = { map: 0, weight: 0, epoch: 0 }, box = byId("map").getBoundingClientRect();
          const [map, weight, epoch] = [drawMap, drawWeight, drawEpoch];
          drawMap = (...all) => { drawn.map += 1; map(...all); };
          drawWeight = (...all) => { drawn.weight += 1; weight(...all); };
          drawEpoch = (...all) => { drawn.epoch += 1; epoch(...all); };
          const move = (canvas, clientX, clientY) =>
            canvas.dispatchEvent(new PointerEvent("pointermove", { clientX, clientY }));
          move(byId("map"), box.left + 20, box.top + 20);
          move(byId("map"), box.left + 90, box.top + 90);
          move(byId("curves"), 9, 9);
          return [drawn, view.row, view.column, view.epoch];
        })()"""
        drawn, *there = tab.evaluate(moved)
        assert drawn == {"map": 0, "weight": 3, "epoch": 3}, "the map is drawn again as the pointer moves"
        assert there[0] > 0
        assert there[2] == 0
        tab.evaluate("byId('tab-neuron').click(); draw()")
        assert tab.evaluate("!byId('neuron').hidden && byId('signs').hidden")
        assert tab.complaints == []
        assert tab.requests == [page.resolve().as_uri()]


def test_a_folder_without_a_run_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["explorer", str(tmp_path / "absent"), "--out", str(tmp_path / "x.html")])
    assert "absent" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
