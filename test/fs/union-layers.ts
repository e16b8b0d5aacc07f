import { joinBytes, type ByteString } from '#layerstack/fs/bytes.js'
import type { HostFs } from '#layerstack/fs/host/host-fs.js'
import { makeOpaque, makeWhiteout } from '#layerstack/fs/overlay-marks.js'
import type { SyncFs } from '#layerstack/fs/sync-fs.js'

/** The layers of each fixture: an upper layer and two lower ones, `mid` above `low`. */
export type LayerName = 'low' | 'mid' | 'upper'
export const LAYER_NAMES: readonly LayerName[] = ['low', 'mid', 'upper']

export const bytes = (text: string) => text as ByteString
/** Modification time of everything that a fixture holds before the test acts. */
export const OLD_NS = 1_000_000_000_123_456_789n

/** Returns a generator of numbers from 0 to 1 that depend only on the seed (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/**
 * Sprinkles marks over a layer: some directories become opaque. In directories that are merged with lower ones, some
 * files become whiteouts. (In other directories a whiteout hides nothing, and the kernel lists the whiteout itself.)
 */
export function sprinkleMarks(fs: HostFs, below: SyncFs, random: () => number, dir = bytes('')): void {
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

function isDirectory(fs: SyncFs, path: ByteString): boolean {
  try {
    return fs.lstat(path).type === 'directory'
  } catch {
    return false
  }
}
