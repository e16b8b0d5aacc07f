import type { ByteString } from '../bytes.js'
import { isOverlayXattr } from '../overlay-marks.js'

/**
 * Names of xattrs as they are kept in a layer and as a union shows them. The overlay's own ones are not shown; who sets
 * one through the union sets another, with `overlay.` once more in its name, as kernels since 6.7 do (so that an overlay
 * may lie in an overlay): `trusted.overlay.x` is kept as `trusted.overlay.overlay.x`.
 */
const KEPT = /^(trusted|user)\.overlay\.overlay\.(.*)$/s
const SHOWN = /^(trusted|user)\.overlay\.(.*)$/s

/** Undefined for what is not shown. */
export function shownXattr(kept: ByteString): ByteString | undefined {
  if (!isOverlayXattr(kept)) return kept
  const escaped = KEPT.exec(kept)
  return escaped === null ? undefined : (`${escaped[1]}.overlay.${escaped[2]}` as ByteString)
}

/** Undefined for what cannot be set. */
export function keptXattr(shown: ByteString): ByteString | undefined {
  if (!isOverlayXattr(shown)) return shown
  const own = SHOWN.exec(shown)
  return own === null ? undefined : (`${own[1]}.overlay.overlay.${own[2]}` as ByteString)
}
