import { joinBytes, type ByteString } from '#layerstack/fs/bytes.js'
import type { HostFs } from '#layerstack/fs/host-fs.js'
import { makeOpaque, makeWhiteout } from '#layerstack/fs/overlay-marks.js'
import type { RawFs } from '#layerstack/fs/raw-fs.js'

/** The layers of every tree in these tests: an upper one, and two lower ones, `mid` above `low`. */
export type LayerName = 'low' | 'mid' | 'upper'
export const LAYER_NAMES: readonly LayerName[] = ['low', 'mid', 'upper']

export const bytes = (text: string) => text as ByteString
/** Of everything that is made before a test acts. */
export const OLD_NS = 1_000_000_000_123_456_789n

/**
 * Sprinkles marks over a layer: some directories become opaque, and in those that are merged with lower ones, some files
 * become whiteouts. (Elsewhere there is nothing to hide, and a kernel lists the whiteouts themselves.)
 */
export function sprinkleMarks(fs: HostFs, below: RawFs, random: () => number, dir = bytes('')): void {
  for (const { name, type } of fs.readdir(dir).toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = joinBytes(dir, name)
    if (type !== 'directory') {
      if (random() < 0.5) continue
      fs.unlink(path)
      makeWhiteout(fs, path)
    } else if (random() < 0.25) {
      makeOpaque(fs, path)
    } else if (isDirectory(below, path)) {
      sprinkleMarks(fs, below, random, path)
    }
  }
}

function isDirectory(fs: RawFs, path: ByteString): boolean {
  try {
    return fs.lstat(path).type === 'directory'
  } catch {
    return false
  }
}
