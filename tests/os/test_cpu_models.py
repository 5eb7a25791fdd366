"""Named CPU models under a stock kernel.

The emulated host is of AMD and has AVX2, but no AVX-512. Guests in it do without XSAVE: QEMU's SVM does
not intercept XSETBV, so KVM never learns what a guest switched on, and Linux finds CPUID inconsistent.
"""

import pytest


@pytest.mark.parametrize("model", ["x86-64-v2", "x86-64-v2-AES", "x86-64-v3"])
def test_model_boots_by_its_name_and_without_what_it_lacks(run, model):
    ended = run.tiny("machine", "--cpu", model)
    assert ended.status == 0, ended
    assert ended.says(f"model={model.removesuffix('-AES')}"), ended
    assert ended.says("flags=.* bmi2( |$)") == (model == "x86-64-v3"), ended
    assert ended.says("flags=.* aes( |$)") == (model != "x86-64-v2"), ended


def test_model_with_more_than_the_host_is_refused_by_what_is_missing(run):
    ended = run.tiny("machine", "--cpu", "x86-64-v4")
    assert ended.status == 2, ended
    assert "x86-64-v4: this host lacks avx512f" in ended.log, ended


def test_model_of_the_other_maker_is_refused(run):
    ended = run.tiny("machine", "--cpu", "Skylake-Server")
    assert ended.status == 2, ended
    assert "a processor of Intel, and this host's is of AMD" in ended.log, ended
