"""What a ledger of language models says of the claims: fewer bits per byte are better, and what is absent is told."""

import tomllib
from pathlib import Path

import pytest
from fixtures.language import DIGEST, ledger_of, with_more

from commons import InputError
from commons.verdicts import Verdict
from figures import claims, language_claims
from figures.claims import LADDER, Finding
from figures.language import LEDGER, Language
from figures.language_claims import ARMS, EFFECT, Runs
from figures.report import Numbers

CAMPAIGNS = Path(__file__).parents[2] / "campaigns"
YES, NO, OPEN, UNTESTED = Verdict.AGREES, Verdict.DISAGREES, Verdict.NOT_RESOLVED, Verdict.NOT_TESTED
# As the paper has it: only signs matter under a learned mask, and Sign-In wins.
AS_CLAIMED = {"plain": 2.2, "Sign-In": 2.1, "layer rates": 2.2, "AC/DC": 2.0, "dense": 1.9} | {
    language_claims.FINAL: 2.001,
    language_claims.EARLY: 2.001,
    language_claims.RANDOM: 2.2,
    language_claims.MAGNITUDES: 2.2,
}
GAINS = (claims.LOSES, language_claims.TO_SPARSE, language_claims.BETTER, language_claims.THAN_RATES, claims.SIGNS)
STARTS = (claims.RECOVERS, claims.EARLY, claims.MAGNITUDES)


def found(results: Path) -> dict[str, Finding]:
    return {each.claim: each for each in Language.read(results).findings}


def test_fewer_bits_are_better(tmp_path: Path) -> None:
    (tmp_path / "as").mkdir()
    (tmp_path / "other").mkdir()
    agreed = found(ledger_of(tmp_path / "as", AS_CLAIMED))
    assert {claim: agreed[claim].verdict for claim in (*GAINS, *STARTS)} == dict.fromkeys((*GAINS, *STARTS), YES)
    assert agreed[claims.LOSES].deciding.measured.startswith("+0.3")
    turned = {arm: 4.2 - bits for arm, bits in AS_CLAIMED.items()}  # all differences with the other sign
    refuted = found(ledger_of(tmp_path / "other", turned))
    assert {refuted[claim].verdict for claim in GAINS} == {NO}
    assert refuted[claims.MAGNITUDES].verdict is NO  # random signs now do better than AC/DC


def test_a_start_that_is_worse_than_its_baseline_does_not_recover_it(tmp_path: Path) -> None:
    worse = found(ledger_of(tmp_path, AS_CLAIMED | {language_claims.FINAL: 2.05}))
    assert worse[claims.RECOVERS].verdict is NO
    assert worse[claims.RECOVERS].deciding.measured.startswith("-0.05")


def test_what_noise_hides_is_not_resolved_and_says_with_how_many_seeds_it_would_be(tmp_path: Path) -> None:
    close = found(ledger_of(tmp_path, {"plain": 2.2, "Sign-In": 2.2 - EFFECT / 2}, seeds=2))[language_claims.BETTER]
    assert close.verdict is OPEN
    assert close.deciding.needed == int(close.row()["seeds to resolve it"].split()[0])
    single = found(ledger_of(tmp_path / "one", {"plain": 2.2, "Sign-In": 2.0}, seeds=1))[language_claims.BETTER]
    assert (single.verdict, single.deciding.needed) == (OPEN, None)


def test_flips_are_compared_as_shares_and_by_block(tmp_path: Path) -> None:
    answers = found(ledger_of(tmp_path, AS_CLAIMED))
    assert answers[claims.MORE].deciding.measured == "+20.00 ± 0.00 % of weights (n=6)"  # (20·2 + 60 − 10·2 − 20)/3
    assert answers[language_claims.LAST_BLOCK].deciding.measured == "+40.00 ± 0.00 % of weights (n=6)"
    assert answers[language_claims.FURTHER].deciding.measured == "+30.00 ± 0.00 % of weights (n=6)"
    assert answers[claims.FLATTER].verdict is UNTESTED  # the runs measured no curvature


def test_arms_of_sign_in_with_another_beta_answer_too_and_are_named(tmp_path: Path) -> None:
    bits = {"plain": 2.2, "Sign-In": 2.2, "Sign-In, β = 0.1": 2.1, "Sign-Inversion": 1.0}
    better = found(ledger_of(tmp_path, bits))[language_claims.BETTER]
    told = {answer.rung: answer.verdict for answer in better.answers}
    assert told == {"language, 5 epochs": NO, "language, 5 epochs, β = 0.1": YES}
    language = Language.read(tmp_path)
    rows = {row["claim"]: row for row in language.tables["language-claims"]}
    assert language._evidence(rows[language_claims.BETTER]).table == "language-s"


def test_reproduce_lists_what_it_writes_of_language(tmp_path: Path) -> None:
    """So that --force deletes it."""
    from figures.reproduce import _files, _keep

    language = Language.read(with_more(ledger_of(tmp_path / "kept", {"plain": 2.2, "dense": 1.9})))
    for folder in ("tables", "figures"):
        (tmp_path / "out" / folder).mkdir(parents=True)
    _keep(tmp_path / "out", language)
    written = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert written == set(_files(language))
    assert "tables/language-claims.csv" in written
    assert _files(Language()) == []


def test_claims_of_arms_without_runs_are_not_tested_and_seeds_that_lack_a_partner_do_not_count(tmp_path: Path) -> None:
    results = ledger_of(tmp_path, {"plain": 2.2, "dense": 1.9})
    answers = found(results)
    assert {claim for claim, each in answers.items() if each.verdict is not UNTESTED} == {claims.LOSES}
    runs = next(iter(Language.read(results).sweeps.values()))
    fewer = Runs(runs.header, runs.comparisons, runs.arms | {"dense": {3: runs.arms["dense"][3]}})
    own, other = fewer.pairs("dense", "plain", language_claims.bits)
    assert (len(own), len(other)) == (1, 1)


def test_verdicts_on_language_stand_apart_from_the_ladder(tmp_path: Path) -> None:
    """They would otherwise decide claims at the top of the report that no smaller rung decides."""
    results = ledger_of(tmp_path, AS_CLAIMED)
    rungs = {answer.rung for each in found(results).values() for answer in each.answers}
    assert rungs == {"language, 5 epochs"}
    assert not rungs & set(LADDER)


def test_the_section_has_tables_a_sample_and_links(tmp_path: Path) -> None:
    language = Language.read(with_more(ledger_of(tmp_path, AS_CLAIMED)))
    section = language.section(tmp_path)
    arms, kinds, simple = (table.rows for table in section.tables)
    by_arm = {row["arm"]: row for row in arms}
    assert by_arm["Sign-In"]["better than plain?"] == "agrees"
    assert (by_arm["plain"]["below the"], by_arm["dense"]["below the"]) == ("3-gram", "4-gram")
    assert kinds[0] == {"arm": "plain", "up": pytest.approx(13.83, abs=0.01), "down": pytest.approx(13.83, abs=0.01),
                        "all": pytest.approx(13.83, abs=0.01)}  # fmt: skip
    assert [row["model"] for row in simple] == ["unigram", "3-gram (Kneser-Ney)", "4-gram (Kneser-Ney)", "zlib"]
    ready = language.ready(Numbers.of([section]))
    assert "def f(x): &lt;b&gt;" in ready
    assert "2.042 bits per byte" in ready
    assert 'href="#table-language-s"' in ready
    assert "54 runs of 5 epochs, 2.6 MB" in section.text
    (drawn,) = language.drawn().values()
    assert drawn.axes[1].get_xlabel().endswith("left of 0 is better")


def test_simple_models_of_another_text_are_left_out(tmp_path: Path) -> None:
    with_more(ledger_of(tmp_path, AS_CLAIMED))
    table = tmp_path / "text-baselines.csv"
    table.write_text(table.read_text().replace(DIGEST, DIGEST[::-1]))
    section = Language.read(tmp_path).section(tmp_path)
    assert "language-baselines" not in [each.name for each in section.tables]
    assert "below the" not in section.tables[0].rows[0]


def test_without_a_ledger_the_section_says_what_would_make_it(tmp_path: Path) -> None:
    language = Language.read(tmp_path / "nowhere")
    assert language.findings == []
    assert not language.tables
    assert LEDGER in language.section(tmp_path).text
    assert "sweep" in language.ready(Numbers.of([]))


@pytest.mark.parametrize("fault", ["empty", "accuracy", "sample"])
def test_a_file_that_is_something_else_is_refused_in_one_line(tmp_path: Path, fault: str) -> None:
    if fault == "empty":
        (tmp_path / LEDGER).write_text("")
    else:
        ledger_of(tmp_path, {"plain": 2.0}, metric="test_accuracy" if fault == "accuracy" else "bits_per_byte")
    if fault == "sample":
        (tmp_path / "text-gpt-sample.json").write_text('{"text": 3}')
    message = {"empty": "a ledger with a sweep", "accuracy": "compares test_accuracy", "sample": "a sample has text"}
    with pytest.raises(InputError, match=message[fault]):
        Language.read(tmp_path)


def test_the_arms_are_those_of_the_campaigns() -> None:
    known = {arm for file in CAMPAIGNS.glob("text-gpt*.toml") for arm in tomllib.loads(file.read_text())["arms"]}
    assert set(ARMS) <= known
