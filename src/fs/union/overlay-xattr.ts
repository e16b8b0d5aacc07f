import type { ByteString } from '../bytes.js'
import { isOverlayXattr } from '../overlay-marks.js'

/**
 * Names of xattrs as a layer stores them and as a union shows them. The overlay's own xattrs are not shown. Setting one
 * through the union stores another name, with a second `overlay.`, as kernels since 6.7 do (so that overlays can be
 * nested): `trusted.overlay.x` is stored as `trusted.overlay.overlay.x`.
 */
const KEPT = /^(trusted|user)\.overlay\.overlay\.(.*)$/s
const SHOWN = /^(trusted|user)\.overlay\.(.*)$/s

/** Returns `undefined` if the xattr is not shown. */
export function shownXattr(kept: ByteString): ByteString | undefined {
  if (!isOverlayXattr(kept)) return kept
  const escaped = KEPT.exec(kept)
  return escaped === null ? undefined : (`${escaped[1]}.overlay.${escaped[2]}` as ByteString)
}

/** Returns `undefined` if the xattr cannot be set. */
export function keptXattr(shown: ByteString): ByteString | undefined {
  if (!isOverlayXattr(shown)) return shown
  const own = SHOWN.exec(shown)
  return own === null ? undefined : (`${own[1]}.overlay.overlay.${own[2]}` as ByteString)
}
