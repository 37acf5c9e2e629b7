"""Which calibration goes with a device: its own, or as a guess that of another one of the same architecture."""

from __future__ import annotations

from collections.abc import Iterator

from ctxsim.errors import Fault, SpecError
from ctxsim.spec import catalog
from ctxsim.spec.calibration import Calibration, load_calibration
from ctxsim.spec.hardware import Hardware
from ctxsim.spec.hardware_file import read_profile


def calibration_of(hardware: Hardware, named: str | None) -> Calibration:
    """The calibration of that name, else the profile's own.

    Raises SpecError where there is none, or where it was measured on another architecture.
    """
    name = named or hardware.calibration
    if name is None:
        wanted = f"peak ({hardware.name} has no calibration)"
        would_do = "write fidelity: peak, or measure and calibrate the device and name the file as calibration"
        raise SpecError(_fault("fidelity", f'{wanted}, found "calibrated"; {would_do}'))
    calibration = load_calibration(name)
    if calibration.hardware != hardware.name:
        measured = _architecture(calibration.hardware)
        if measured != hardware.architecture:
            found = f"{name} of {calibration.hardware} ({measured or 'not known here'})"
            would_do = "take a calibration of the device, or write fidelity: peak"
            wanted = f"a calibration of {hardware.name} or of its architecture ({hardware.architecture})"
            raise SpecError(_fault("calibration", f"{wanted}, found {found}; {would_do}"))
    return calibration


def guesses(hardware: Hardware, calibration: Calibration | None) -> Iterator[str]:
    """Says where times come from another device than the one that is served on, or from another's calibration."""
    if calibration is None:
        return
    for lender in dict.fromkeys(fit.borrowed_from for fit in calibration.fits if fit.borrowed_from):
        names = ", ".join(fit.variant for fit in calibration.fits if fit.borrowed_from == lender)
        yield (
            f"{calibration.name} has no times of its own for small kernels ({names}): they are those of {lender}, the "
            "same seconds of launching and shares of the device's own bandwidth as the calibration says, with twice "
            "the spread"
        )
    if calibration.hardware != hardware.name:
        yield (
            f"{hardware.name} was never measured: its times are a guess from {calibration.name}, the same shares of "
            "its own peaks, with twice the spread"
        )


def _architecture(profile: str) -> str | None:
    if profile not in catalog.names("hardware"):
        return None
    return read_profile(profile)[0].architecture


def _fault(field: str, message: str) -> Fault:
    return Fault("", None, None, field, f"expected {message}")
