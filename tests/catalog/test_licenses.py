from __future__ import annotations

import os
import subprocess
import sys

import pytest
from support.fake_packs import spec

import optim_core
from optim_core import errors
from optim_core.catalog import licenses, spdx

NC = "CC-BY-NC-SA-4.0"


@pytest.fixture(autouse=True)
def installed(site):
    modules = {"nero": "import torch\nclass Nero(torch.optim.SGD): pass"}
    site.install("nc", spec("nero", license=NC, target="fake_nc_optim.nero:Nero"), licence=NC, modules=modules)
    site.install("free", spec("lion"))
    return site


def refused(name="nero"):
    with pytest.raises(errors.LicenseNotAllowed) as raised:
        optim_core.get(name)
    return str(raised.value)


# warning --------------------------------------------------------------------------------------------------------


def test_non_commercial_warns_once():
    with pytest.warns(optim_core.NonCommercialWarning) as warned:
        optim_core.get("nero")
    assert str(warned[0].message) == (
        "'nero' (nc-optim 1.0) is CC-BY-NC-SA-4.0: not for commercial use. "
        "To forbid such methods: export OPTIM_CORE_LICENSE_DENY=noncommercial"
    )
    assert warned[0].filename == __file__
    optim_core.get("nero")
    optim_core.get("nc:nero")


def test_others_do_not_warn():
    optim_core.get("lion")


def test_what_is_allowed_by_name_does_not_warn():
    licenses.policy(allow=[NC])
    optim_core.get("nero")


def test_looking_does_not_warn():
    optim_core.info("nero")
    optim_core.find()


# policy ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("term", ["noncommercial", "Non-Commercial", NC, NC.lower()])
def test_denied_in_python(term):
    licenses.policy(deny=[term])
    stated = term if term.lower() == NC.lower() else "noncommercial"
    assert refused() == (
        f"'nero' (nc-optim 1.0) is CC-BY-NC-SA-4.0, which your policy does not allow: policy(deny=['{stated}']). "
        "To allow it: optim_core.licenses.policy()"
    )
    assert "fake_nc_optim.nero" not in sys.modules
    assert optim_core.get("lion")


def test_denied_in_the_environment(monkeypatch):
    monkeypatch.setenv("OPTIM_CORE_LICENSE_DENY", "noncommercial")
    assert refused() == (
        "'nero' (nc-optim 1.0) is CC-BY-NC-SA-4.0, which your policy does not allow: "
        "OPTIM_CORE_LICENSE_DENY=noncommercial. To allow it in the shell: unset OPTIM_CORE_LICENSE_DENY; "
        'in Python: os.environ["OPTIM_CORE_LICENSE_DENY"] = ""'
    )


def test_the_remedy_keeps_what_else_is_denied(monkeypatch):
    monkeypatch.setenv("OPTIM_CORE_LICENSE_DENY", f"GPL-3.0-only,{NC}")
    assert 'export OPTIM_CORE_LICENSE_DENY="GPL-3.0-only"; in Python: os.environ' in refused()
    monkeypatch.setenv("OPTIM_CORE_LICENSE_DENY", "GPL-3.0-only")
    licenses.policy(deny=["noncommercial", "GPL-3.0-only"])
    assert refused().endswith("optim_core.licenses.policy(deny=['GPL-3.0-only'])")


def test_an_allow_list_allows_nothing_else(monkeypatch):
    monkeypatch.setenv("OPTIM_CORE_LICENSE_ALLOW", "MIT, Apache-2.0")
    assert optim_core.get("lion")
    assert 'in the shell: export OPTIM_CORE_LICENSE_ALLOW="MIT,Apache-2.0,CC-BY-NC-SA-4.0"' in refused()
    monkeypatch.setenv("OPTIM_CORE_LICENSE_ALLOW", "")
    licenses.policy(allow="Apache-2.0")
    assert "'lion' (free-optim 1.0) is MIT, which your policy does not allow: policy(allow=['Apache-2.0'])" in refused(
        "lion"
    )
    assert refused("lion").endswith("To allow it: optim_core.licenses.policy(allow=['Apache-2.0', 'MIT'])")


@pytest.mark.parametrize("source", ["python", "shell"])
def test_the_remedy_works(monkeypatch, source):
    if source == "python":
        licenses.policy(deny="noncommercial")
        exec(refused().partition("To allow it: ")[2], {"optim_core": optim_core})  # noqa: S102 - our own text
    else:
        monkeypatch.setenv("OPTIM_CORE_LICENSE_DENY", "noncommercial")
        exec(refused().partition("in Python: ")[2], {"os": os})  # noqa: S102 - our own text
    with pytest.warns(errors.NonCommercialWarning):
        optim_core.get("nero")


def test_python_cannot_undo_the_environment(monkeypatch):
    monkeypatch.setenv("OPTIM_CORE_LICENSE_DENY", "noncommercial")
    licenses.policy(allow=[NC, "MIT"])
    assert "OPTIM_CORE_LICENSE_DENY=noncommercial" in refused()


def test_a_denial_wins_over_a_permission():
    licenses.policy(allow=["MIT", NC], deny=[NC])
    assert f"policy(deny=['{NC}'])" in refused()


def test_the_policy_is_lifted():
    licenses.policy(deny="noncommercial")
    licenses.policy()
    with pytest.warns(errors.NonCommercialWarning):
        optim_core.get("nero")


def test_the_policy_holds_for_packages(installed):
    package = installed.root.joinpath("fake_nc_optim", "__init__.py")
    package.write_text("from optim_core.catalog import exports\n__getattr__, __dir__ = exports(__name__)\n")
    import fake_nc_optim

    licenses.policy(deny="noncommercial")
    with pytest.raises(errors.LicenseNotAllowed, match=r"'nero' \(fake_nc_optim\) is CC-BY-NC-SA-4.0"):
        fake_nc_optim.Nero  # noqa: B018 - importing is the point
    assert "fake_nc_optim.nero" not in sys.modules
    licenses.policy()
    with pytest.warns(errors.NonCommercialWarning) as warned:
        from fake_nc_optim import Nero
    assert warned[0].filename == __file__
    assert Nero.__name__ == "Nero"


# policies that make no sense ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("term", "text"),
    [
        ("noncomercial", "deny: 'noncomercial' is not an SPDX licence. Did you mean 'noncommercial'?"),
        ("Apache 2", "deny: 'Apache 2' is not an SPDX licence."),
        ("Apache-2", "deny: 'Apache-2' is not an SPDX licence. Did you mean 'Apache-2.0'"),
        ("NC", "Write for example 'Apache-2.0', or 'noncommercial' for all licences that rule out commercial use"),
    ],
)
def test_a_term_that_is_no_licence(term, text):
    with pytest.raises(errors.PolicyError) as raised:
        licenses.policy(deny=[term])
    assert text in str(raised.value)


def test_a_wrong_policy_in_the_environment_stops_everything(monkeypatch):
    monkeypatch.setenv("OPTIM_CORE_LICENSE_DENY", "noncomercial")
    with pytest.raises(errors.PolicyError, match="OPTIM_CORE_LICENSE_DENY: 'noncomercial' is not an SPDX licence"):
        optim_core.get("lion")


def test_own_licences_can_be_named():
    licenses.policy(allow=["LicenseRef-Acme", "MIT"])


# compound licences ----------------------------------------------------------------------------------------------


def permits(expression, *, allow=None, deny=()):
    stated = [licenses.Rule(True, tuple(allow), "--allow")] if allow else []
    return all(rule.permits(expression) for rule in [*stated, licenses.Rule(False, tuple(deny), "--deny")])


@pytest.mark.parametrize(
    ("expression", "policy", "answer"),
    [
        ("MIT OR CC-BY-NC-4.0", {"deny": ["noncommercial"]}, True),
        ("MIT AND CC-BY-NC-4.0", {"deny": ["noncommercial"]}, False),
        ("MIT AND (ISC OR CC-BY-NC-4.0)", {"deny": ["noncommercial"]}, True),
        ("MIT OR Apache-2.0", {"allow": ["Apache-2.0"]}, True),
        ("MIT AND Apache-2.0", {"allow": ["Apache-2.0"]}, False),
        ("MIT AND Apache-2.0", {"allow": ["Apache-2.0", "MIT"]}, True),
        ("MIT AND Apache-2.0", {"allow": ["MIT AND Apache-2.0"]}, True),
        ("GPL-2.0-only WITH Classpath-exception-2.0", {"deny": ["GPL-2.0-only"]}, False),
        ("GPL-2.0-only WITH Classpath-exception-2.0", {"allow": ["GPL-2.0-only WITH Classpath-exception-2.0"]}, True),
        ("LicenseRef-Acme-NC", {"deny": ["noncommercial"]}, False),
        ("PolyForm-Noncommercial-1.0.0", {"deny": ["noncommercial"]}, False),
        ("NCSA", {"deny": ["noncommercial"]}, True),
        ("", {"allow": ["MIT"]}, False),
        ("MIT AND", {"deny": ["ISC"]}, False),
    ],
)
def test_compound_licences(expression, policy, answer):
    assert permits(expression, **policy) is answer


@pytest.mark.parametrize(
    ("expression", "policy", "answer"),
    [
        ("GPL-3.0+", {"deny": ["GPL-3.0-or-later"]}, False),
        ("GPL-3.0-or-later", {"deny": ["gpl-3.0+"]}, False),
        ("GPL-3.0", {"deny": ["GPL-3.0-only"]}, False),
        ("GPL-3.0-only", {"deny": ["GPL-3.0-or-later"]}, False),
        ("GPL-3.0-or-later", {"deny": ["GPL-3.0-only"]}, False),
        ("GPL-2.0-only", {"deny": ["GPL-3.0-only"]}, True),
        ("GPL-3.0-only", {"deny": ["LGPL-3.0-only"]}, True),
        ("GPL-3.0+", {"allow": ["GPL-3.0-or-later"]}, True),
        ("GPL-3.0-or-later", {"allow": ["GPL-3.0-only"]}, True),
        ("GPL-3.0-only", {"allow": ["GPL-3.0-or-later"]}, False),
        ("CC-BY-NC-SA", {"deny": ["CC-BY-NC-SA-4.0"]}, False),
        ("My-Licence", {"deny": ["noncommercial"]}, False),
        ("LicenseRef-Mine", {"deny": ["noncommercial"]}, True),
    ],
)
@pytest.mark.parametrize("parser", [True, False])
def test_spellings_of_one_licence(monkeypatch, expression, policy, answer, parser):
    if not parser:
        monkeypatch.setattr(spdx, "parser", lambda: None)
    assert permits(expression, **policy) is answer


@pytest.mark.parametrize(
    ("expression", "policy", "answer"),
    [
        ("Apache-2.0 AND MIT", {"allow": ["mit AND apache-2.0"]}, True),
        ("MIT AND (Apache-2.0 OR ISC)", {"allow": ["(ISC OR Apache-2.0) AND MIT"]}, True),
        ("GPL-2.0+ WITH classpath-exception-2.0", {"allow": ["GPL-2.0-or-later WITH Classpath-exception-2.0"]}, True),
        ("GPL-2.0-only WITH classpath-exception-2.0", {"deny": ["GPL-2.0 WITH Classpath-exception-2.0"]}, False),
        ("GPL-2.0-only", {"deny": ["GPL-2.0-only WITH Classpath-exception-2.0"]}, True),
        ("My-Licence OR MIT", {"deny": ["noncommercial"]}, True),
        ("MIT OR My-Licence", {"deny": ["noncommercial"]}, True),
    ],
)
def test_order_and_case_do_not_count(monkeypatch, expression, policy, answer):
    assert permits(expression, **policy) is answer
    monkeypatch.setattr(spdx, "parser", lambda: None)
    assert permits(expression, **policy) in (answer, False)


@pytest.mark.parametrize("parser", [True, False])
@pytest.mark.parametrize("variable", ["OPTIM_CORE_LICENSE_DENY", "OPTIM_CORE_LICENSE_ALLOW"])
@pytest.mark.parametrize(
    "term", ["CC-BY-NC-SA", "GPL", "CC-BY-NC", "Apache", "BSD", "Classpath-exception-2.0", "MIT AND GPL"]
)
def test_a_term_that_would_match_nothing_is_refused(monkeypatch, term, variable, parser):
    if not parser:
        monkeypatch.setattr(spdx, "parser", lambda: None)
    monkeypatch.setenv(variable, f"MIT,{term}")
    with pytest.raises(errors.PolicyError) as raised:
        optim_core.get("lion")
    assert f"{variable}: {term!r} is not an SPDX licence." in str(raised.value)
    assert ('pip install "optim-core[licenses]"' in str(raised.value)) is not parser


def test_one_term_to_deny_is_one_licence():
    with pytest.raises(errors.PolicyError) as raised:
        licenses.policy(deny=["MIT AND (GPL-3.0-only OR ISC)"])
    assert str(raised.value).endswith("is of several licences: deny each by itself, MIT, GPL-3.0-only, ISC")
    licenses.policy(deny=str(raised.value).rpartition("by itself, ")[2])
    assert "lion" in refused("lion")


def test_a_licence_that_does_not_exist(installed):
    installed.install("odd", spec("duo", license="My-Licence"), licence=None)
    installed.registry()
    assert optim_core.get("duo")
    licenses.policy(deny="noncommercial")
    assert refused("duo").endswith(
        "'My-Licence' is not an SPDX licence, so nobody can tell; its authors should declare one"
    )
    licenses.policy()
    assert optim_core.get("duo")


def test_what_cannot_be_decided_is_not_allowed(installed, monkeypatch):
    monkeypatch.setattr(spdx, "parser", lambda: None)
    installed.install("both", spec("duo", license="MIT OR Apache-2.0"), licence=None)
    assert optim_core.get("lion")
    licenses.policy(allow=["MIT", NC])
    assert optim_core.get("lion")
    installed.registry()
    assert refused("duo").endswith('To have it checked: pip install "optim-core[licenses]"')


# what is not imported -------------------------------------------------------------------------------------------


def test_plain_licences_need_no_parser():
    code = """
import sys
from optim_core.catalog import licenses
from optim_core.catalog.specs import OptimizerSpec
licenses.check(OptimizerSpec(name="a", target="a:B", summary="S.", license="MIT"), "a 1.0")
assert not {"license_expression", "torch"} & set(sys.modules), sorted(sys.modules)
"""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OPTIM_CORE_")}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
