import unicodedata

from quickstudy.functional.names import composed


def test_two_spellings_of_one_name_are_equal() -> None:
    for name in ("crème", "naïf", "Ångström", "가"):
        spellings = {unicodedata.normalize(form, name) for form in ("NFC", "NFD")}
        assert len(spellings) == 2
        assert {composed(spelling) for spelling in spellings} == {unicodedata.normalize("NFC", name)}
