"""A site with a page for each way through Django's page cache; also its URLs."""

from collections.abc import Iterator
from typing import Any

from django.core.cache.backends.locmem import LocMemCache
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.middleware.csrf import get_token
from django.template import engines
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.cache import patch_vary_headers
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import cache_control, cache_page, never_cache
from django.views.decorators.csrf import csrf_protect


def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse("page")


def private(request: HttpRequest) -> HttpResponse:
    return cache_control(private=True)(plain)(request)


def no_store(request: HttpRequest) -> HttpResponse:
    return HttpResponse("page", headers={"Cache-Control": "no-store"})


def zero(request: HttpRequest) -> HttpResponse:
    return cache_control(max_age=0)(plain)(request)


def star(request: HttpRequest) -> HttpResponse:
    return HttpResponse("page", headers={"Vary": "*"})


def missing(request: HttpRequest) -> HttpResponse:
    return HttpResponse("none", status=404)


def streamed(request: HttpRequest) -> HttpResponseBase:
    return StreamingHttpResponse(iter([b"a", b"b"]))


def file(request: HttpRequest) -> HttpResponseBase:
    return FileResponse(iter([b"a"]))


def cookie(request: HttpRequest) -> HttpResponse:
    response = HttpResponse("page")
    response.set_cookie("seen", "1")
    patch_vary_headers(response, ["Cookie"])
    return response


def switched_off(request: Any) -> HttpResponse:
    request._cache_update_cache = False
    return HttpResponse("page")


def reads_session(request: HttpRequest) -> HttpResponse:
    request.session.get("basket")  # the line to be named
    return HttpResponse("page")


def writes_session(request: HttpRequest) -> HttpResponse:
    request.session["basket"] = 1
    return HttpResponse("page")


def makes_token(request: HttpRequest) -> HttpResponse:
    return HttpResponse(get_token(request))


def template_token(request: HttpRequest) -> HttpResponse:
    template = engines["django"].from_string("one\n{% csrf_token %}")
    return TemplateResponse(request, template, {})


def failing(request: HttpRequest) -> HttpResponse:
    raise LookupError


class RefusingCache(LocMemCache):
    """Has nothing, and takes nothing."""

    def set(self, *args: Any, **kwargs: Any) -> None:
        raise LookupError


class ClassBased(View):
    @method_decorator(cache_page(60))
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("page")


async def asynchronous(request: HttpRequest) -> HttpResponse:
    return HttpResponse("page")


def _paths() -> Iterator[Any]:
    for view in (
        plain,
        private,
        no_store,
        zero,
        star,
        missing,
        streamed,
        file,
        cookie,
        switched_off,
        reads_session,
        writes_session,
        failing,
        asynchronous,
    ):
        yield path(f"cached/{view.__name__}/<int:pk>/", _taking_pk(cache_page(60)(view)))
        yield path(f"site/{view.__name__}/", view)
    for tokens in (makes_token, template_token):
        yield path(
            f"cached/{tokens.__name__}/<int:pk>/", _taking_pk(cache_page(60)(csrf_protect(tokens)))
        )
        yield path(f"site/{tokens.__name__}/", tokens)
    yield path("cached/no_time/<int:pk>/", _taking_pk(cache_page(0)(plain)))
    yield path("cached/dummy/<int:pk>/", _taking_pk(cache_page(60, cache="dummy")(plain)))
    yield path(
        "cached/nested/<int:pk>/",
        _taking_pk(cache_page(60)(cache_page(30, key_prefix="in")(plain))),
    )
    yield path("cached/class/", ClassBased.as_view())
    yield path("cached/never/<int:pk>/", _taking_pk(cache_page(60)(never_cache(plain))))


def _taking_pk(view: Any) -> Any:
    """``view`` below a route with a number, which it is not interested in."""
    from asgiref.sync import iscoroutinefunction

    if iscoroutinefunction(view):

        async def taking_async(request: HttpRequest, pk: int) -> Any:
            return await view(request)

        return taking_async

    def taking(request: HttpRequest, pk: int) -> Any:
        return view(request)

    return taking


urlpatterns = list(_paths())
