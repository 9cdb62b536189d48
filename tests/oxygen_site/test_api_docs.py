"""/api/docs says what the API's description of itself says, to anybody, without a script."""

import re
from html import unescape

from django.test import Client

from tests.contract import served


def shown() -> str:
    response = Client().get("/api/docs")
    assert response.status_code == 200
    return unescape(response.content.decode())


def test_every_operation_stands_there_with_its_address_and_scopes(db: None) -> None:
    text = shown()
    for path, methods in served()["paths"].items():
        for operation in methods.values():
            article = text.partition(f'<article id="{operation["operationId"]}"')[2].partition("</article>")[0]
            assert f"<code>{path}</code>" in article
            assert operation["summary"] in article
            assert ", ".join(operation["x-scopes"]) in article


def test_every_field_that_is_answered_stands_there(db: None) -> None:
    text = shown()
    balance = served()["components"]["schemas"]["Balance"]["properties"]
    assert [name for name in balance if f"<code>{name}</code>" not in text] == []


def test_it_needs_no_script_and_links_to_what_is_there(db: None) -> None:
    text = shown().partition("<main")[2]
    assert "<script" not in text
    for anchor in re.findall(r'href="#([^"]+)"', text):
        assert f'id="{anchor}"' in text
