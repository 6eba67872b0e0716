from django.test import override_settings

from cache_monitor.keys.known_keys import is_toolbars_own


def test_the_toolbars_keys_are_known_by_their_prefix() -> None:
    assert is_toolbars_own("djdt:request_ids")
    assert is_toolbars_own(("djdt:req:1", "djdt:req:2"))
    assert not is_toolbars_own("mine")
    assert not is_toolbars_own(())
    assert not is_toolbars_own(None)


@override_settings(DEBUG_TOOLBAR_CONFIG={"CACHE_KEY_PREFIX": "toolbar/"})
def test_a_prefix_from_the_toolbars_settings_is_heeded() -> None:
    assert is_toolbars_own("toolbar/request_ids")
    assert not is_toolbars_own("djdt:request_ids")


@override_settings(DEBUG_TOOLBAR_CONFIG={"CACHE_KEY_PREFIX": ""})
def test_an_empty_prefix_takes_no_key_for_the_toolbars() -> None:
    assert not is_toolbars_own("mine")
