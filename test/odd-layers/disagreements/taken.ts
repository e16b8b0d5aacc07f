import type { JudgeName } from '../judges.js'

const DOCKERD = ['dockerd, overlay2', 'dockerd, vfs'] as const
const CONTAINERD = ['containerd, overlayfs', 'containerd, native'] as const
const ALL = [...DOCKERD, ...CONTAINERD]

/** Layers that this library rejects, with the judges that accept them. umoci is not tested. */
export const taken: Readonly<Record<string, readonly JudgeName[]>> = {
  'a name that leads outside the root: ../a': ALL,
  'a name that leads outside the root: /../a': ALL,
  'a name that leads outside the root: a/../../b': ALL,
  'a name that leads outside the root: ..': CONTAINERD,
  'a name that leads outside the root: a/../..': CONTAINERD,
  'a whiteout that leads outside the root': ALL,
  'a hard link through a symlink of a lower layer': ['dockerd, vfs', 'containerd, native'],
  'a whiteout without a valid name: .wh.a/b': ALL,
  'a PAX header without an entry': ALL,
  'a negative owner': ALL,
  'a group that Linux cannot store': ALL,
  'a device number that Linux cannot store': ALL,
  'a PAX size with a plus sign': ALL,
  'a sparse map of PAX 0.1 with the number "+1"': ALL,
  'a sparse map of PAX 1.0 with the number "+1"': ALL,
  'a sparse map of PAX 1.0 with the count "+1"': ALL,
}
