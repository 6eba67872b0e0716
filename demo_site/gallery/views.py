"""The gallery's pages."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from gallery.faults import FAULTS, Fault


def gallery(request: HttpRequest) -> HttpResponse:
    """All faults."""
    return render(request, "gallery/gallery.html", {"faults": FAULTS.values()})


def fault(request: HttpRequest, code: str) -> HttpResponse:
    """One fault, and the button that makes it."""
    return render(request, "gallery/fault.html", {"fault": _fault(code)})


@require_POST
def commit(_request: HttpRequest, code: str) -> HttpResponseRedirect:
    """Make the mistake."""
    _fault(code).commit()
    return redirect("gallery:fault", code)


def _fault(code: str) -> Fault:
    if code not in FAULTS:
        raise Http404(f"The gallery has no fault {code!r}.")
    return FAULTS[code]
