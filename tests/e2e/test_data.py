"""Data by flytekit: uploads, `flyte://` URLs, decks, and settings of projects."""

import pytest
from flyteidl.core import literals_pb2
from flytekit.exceptions.system import FlyteSystemException
from flytekit.models.matchable_resource import ClusterResourceAttributes, MatchingAttributes
from teams import remote

CLUSTER_RESOURCE = 1


def told(refused):
    """What the control plane's side said of a refusal."""
    return refused.value.__cause__.details()


def test_a_file_goes_where_the_team_may_upload(demo, control_plane, tmp_path):
    file = tmp_path / "data.csv"
    file.write_text("1,2")
    for root in (None, "nightly/run-1"):
        _, place = remote(demo, "ml", "ml").upload_file(file, filename_root=root)
        assert place.startswith("s3://demo/ml/development/") and place.endswith("data.csv")
        upload = control_plane.uploads()[-1]
        assert (upload["bytes"], upload["path"].endswith("data.csv")) == (3, True)


@pytest.mark.parametrize(
    ("project", "root", "label"),
    [
        ("fraud", None, "no_matching_rule"),
        ("fraud", "x", "no_matching_rule"),
        ("ml", "../../fraud/development/x", "field_invalid"),
        ("ml", "/fraud", "field_invalid"),
        ("ml", "a%2F..%2F..", "field_invalid"),
        ("ml", "a?b", "field_invalid"),
    ],
)
def test_a_file_goes_nowhere_else(demo, control_plane, tmp_path, project, root, label):
    file = tmp_path / "data.csv"
    file.write_text("1,2")
    with pytest.raises(RuntimeError) as refused:
        remote(demo, "ml", "ml").upload_file(file, project=project, filename_root=root)
    assert f"[{label}; request " in refused.value.__cause__.__cause__.details()
    assert control_plane.uploads() == [] and control_plane.calls() == []


def test_data_is_read_by_its_url(demo, control_plane):
    ml = remote(demo, "ml", "ml")
    base = "flyte://v1/ml/development/f1/n0"
    for tail in ("i", "o", "0/o"):
        assert ml.get(f"{base}/{tail}").get("o0", as_type=int) == 42
    for tail in ("o/o0", "0/i/x"):
        assert ml.get(f"{base}/{tail}").to_flyte_idl() == literals_pb2.Literal(scalar={"primitive": {"integer": 42}})
    deck = ml.client.get_data(f"{base}/d")
    assert len(deck.pre_signed_urls.signed_url) == 1
    assert control_plane.calls() == ["GetData"] * 6


@pytest.mark.parametrize("tail", ["i", "o", "d", "0/o", "o/o0", "3/i/x"])
def test_data_of_others_is_not_read(demo, control_plane, tail):
    fetches = demo.token_fetches()
    with pytest.raises(FlyteSystemException) as refused:
        remote(demo, "ml", "ml").get(f"flyte://v1/fraud/development/f1/n0/{tail}")
    assert "no rule allows view_data in project fraud, domain development [no_matching_rule; request " in told(refused)
    assert control_plane.calls() == []
    assert demo.token_fetches() - fetches == 1


def test_a_url_inside_a_url_reads_nothing(demo, control_plane):
    url = "flyte://v1/ml/development/f1/n0/x/flyte://v1/fraud/development/f1/n0/i"
    with pytest.raises(Exception) as refused:
        remote(demo, "ml", "ml").client.get_data(url)
    assert "field_invalid" in str(refused.value.__cause__ or refused.value)
    assert control_plane.calls() == []


def test_a_deck_is_for_who_may_see_its_execution(demo, control_plane):
    client = remote(demo, "ml", "ml").client
    link = client.get_download_artifact_signed_url("n0", "ml", "development", "f1")
    assert len(link.signed_url) == 1
    control_plane.reset()
    with pytest.raises(FlyteSystemException) as refused:
        client.get_download_artifact_signed_url("n0", "fraud", "development", "f1")
    assert "no rule allows view_data in project fraud, domain development" in told(refused)
    assert control_plane.calls() == []


def test_no_team_gets_a_link_to_any_place_in_the_store(demo, control_plane):
    with pytest.raises(FlyteSystemException) as refused:
        remote(demo, "ml", "ml").client.get_download_signed_url("s3://demo/ml/development/x")
    assert "administer_platform" in told(refused)
    assert control_plane.calls() == []


def test_settings_of_others_are_not_listed(demo, control_plane):
    rules = """
  - name: administrators
    subjects: [{ groups: [ml-team] }]
    allow: [{ projects: [ml], domains: [development], role: project_admin }]
  - name: other-administrators
    subjects: [{ groups: [fraud-team] }]
    allow: [{ projects: [fraud], domains: [development], role: project_admin }]
"""
    with demo.more_rules(rules):
        for team in ("ml", "fraud"):
            client = remote(demo, team, team).client
            settings = MatchingAttributes(cluster_resource_attributes=ClusterResourceAttributes({"cpu": team}))
            client.update_project_domain_attributes(team, "development", settings)
    assert control_plane.calls() == ["UpdateProjectDomainAttributes"] * 2
    for team in ("ml", "fraud"):
        listed = remote(demo, team, team).client.list_matchable_attributes(CLUSTER_RESOURCE)
        assert [(row.project, row.domain) for row in listed.configurations] == [(team, "development")]
