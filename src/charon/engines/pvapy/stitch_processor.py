"""The stitching processor that ``pvapy-hpc-consumer`` loads with ``--processor-file`` and ``--processor-class``."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from charon.adapters.inference.bundle import BundleError, load_bundle
from charon.adapters.pvaccess.consumer import ConsumerProcessor
from charon.engines.pvapy.patch_stitcher import PatchStitcher
from charon.errors import BadFrameError, Reason, UsageError
from charon.ledger.frame_log import FrameLog
from charon.settings.baseline import StitcherSettings, read_processor_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from charon.adapters.pvaccess import RawUpdate

_log = logging.getLogger(__name__)


class StitchProcessor(ConsumerProcessor):
    """Stitches the results of the consumers.

    It is ready when each output channel has delivered its initial value; only then it creates its frame log, for which
    the supervisor waits.
    """

    def prepare(self, config: Mapping[str, Any]) -> None:
        """Read the settings and the bundle's card."""
        self._settings = read_processor_settings(StitcherSettings, config)
        try:
            self._bundle = load_bundle(self._settings.model)
        except BundleError as error:
            raise UsageError(str(error)) from error
        self._stitcher: PatchStitcher | None = None
        self._waiting = {str(config["inputChannel"]), *self._settings.further_channels}

    def further_channels(self, config: Mapping[str, Any]) -> Sequence[str]:
        """Return the output channels of the consumers except the first."""
        return read_processor_settings(StitcherSettings, config).further_channels

    def on_update(self, update: RawUpdate) -> None:
        """Stitch a result."""
        self._waiting.discard(update.channel)
        if self._stitcher is None and not self._waiting:
            self._stitcher = self._open()
        try:
            frame = update.frame()
        except BadFrameError as error:
            # The initial value of a channel has neither image nor time.
            if error.reason != Reason.EMPTY:
                _log.warning("ignored a result: %s", error.detail)
            return
        if self._stitcher is None:
            self._stitcher = self._open()
        self._stitcher.add(frame, update.received_ns)

    def finish(self) -> None:
        """Write the last images."""
        if self._stitcher is not None:
            self._stitcher.close()

    def _open(self) -> PatchStitcher:
        settings = self._settings
        return PatchStitcher(settings.output, self._bundle, settings.channel, FrameLog(settings.log))
