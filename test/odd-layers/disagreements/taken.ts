import type { JudgeName } from '../judges.js'

const DOCKERD = ['dockerd, overlay2', 'dockerd, vfs'] as const
const CONTAINERD = ['containerd, overlayfs', 'containerd, native'] as const
const ALL = [...DOCKERD, ...CONTAINERD]

/** Layers that we refuse, and who takes them. umoci is not asked: it is given layouts of ours. */
export const taken: Readonly<Record<string, readonly JudgeName[]>> = {
  'a name that climbs out: ../a': ALL,
  'a name that climbs out: /../a': ALL,
  'a name that climbs out: a/../../b': ALL,
  'a name that climbs out: ..': CONTAINERD,
  'a name that climbs out: a/../..': CONTAINERD,
  'a whiteout that climbs out': ALL,
  'a hard link to what a symlink of a lower layer leads to': ['dockerd, vfs', 'containerd, native'],
  'a whiteout of no name: .wh.a/b': ALL,
  'a PAX header without an entry': ALL,
  'an owner below zero': ALL,
  'a group that Linux cannot keep': ALL,
  'a device number that Linux cannot keep': ALL,
  'a PAX size with a plus': ALL,
  'a sparse map of PAX 0.1 with the number "+1"': ALL,
  'a sparse map of PAX 1.0 with the number "+1"': ALL,
  'a sparse map of PAX 1.0 with the count "+1"': ALL,
}
