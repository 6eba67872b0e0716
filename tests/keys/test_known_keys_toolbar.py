from django.test import override_settings

from cache_monitor.keys.known_keys import is_toolbar_key


def test_the_toolbars_keys_are_known_by_their_prefix() -> None:
    assert is_toolbar_key("djdt:request_ids")
    assert is_toolbar_key(("djdt:req:1", "djdt:req:2"))
    assert not is_toolbar_key("mine")
    assert not is_toolbar_key(())
    assert not is_toolbar_key(None)


@override_settings(DEBUG_TOOLBAR_CONFIG={"CACHE_KEY_PREFIX": "toolbar/"})
def test_a_prefix_from_the_toolbars_settings_is_heeded() -> None:
    assert is_toolbar_key("toolbar/request_ids")
    assert not is_toolbar_key("djdt:request_ids")


@override_settings(DEBUG_TOOLBAR_CONFIG={"CACHE_KEY_PREFIX": ""})
def test_an_empty_prefix_takes_no_key_for_the_toolbars() -> None:
    assert not is_toolbar_key("mine")
