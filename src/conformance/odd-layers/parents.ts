import type { OddLayer } from './odd-layer.js'
import { directory, file, pax, symlink, tar } from './raw-tar.js'

const ATTRIBUTES =
  'A parent without an entry is the lower directory, and keeps its attributes (containerd, image-spec#970).'
const SHADOW =
  'A new directory shadows the object of the lower layer. A symlink of a lower layer is not followed.'

export const oddParents: readonly OddLayer[] = [
  {
    name: 'parents without entries',
    note: 'Nothing describes them, so they get defaults: owner root, mode 0755, time 0.',
    layers: [tar(file('a/b/c', 'x'), file('a/d', 'y'))],
    tree: ['a/ at 0', 'a/b/ at 0', 'a/b/c "x"', 'a/d "y"'],
  },
  {
    name: 'parents with entries only in lower layers',
    note: ATTRIBUTES,
    layers: [
      tar(
        pax([['SCHILY.xattr.user.note', 'kept']]),
        directory('a', { mode: 0o1750, uid: 7, gid: 8, mtime: 5 }),
        directory('a/b', { mode: 0o700 }),
      ),
      tar(file('a/b/c', 'x')),
    ],
    tree: ['a/ mode 1750 owner 7:8 user.note=kept at 5', 'a/b/ mode 700', 'a/b/c "x"'],
  },
  {
    name: 'a parent with an entry after its children',
    note: 'The children create it; its entry sets its attributes and its time.',
    layers: [tar(file('a/b', 'x'), directory('a', { mode: 0o711, mtime: 5 }))],
    tree: ['a/ mode 711 at 5', 'a/b "x"'],
  },
  {
    name: 'a directory with two entries',
    note: 'The last one counts; the content of the directory stays.',
    layers: [
      tar(
        pax([['SCHILY.xattr.user.one', '1']]),
        directory('a', { mode: 0o700, uid: 1 }),
        file('a/b', 'x'),
        pax([['SCHILY.xattr.user.two', '2']]),
        directory('a', { mode: 0o711, uid: 2 }),
      ),
    ],
    tree: ['a/ mode 711 owner 2:0 user.two=2', 'a/b "x"'],
  },
  {
    name: 'a directory that merges with a lower directory',
    note: 'It takes all attributes of the new entry; other xattrs are removed.',
    layers: [
      tar(pax([['SCHILY.xattr.user.one', '1']]), directory('a', { mode: 0o700, uid: 1 }), file('a/old', '1')),
      tar(pax([['SCHILY.xattr.user.two', '2']]), directory('a', { mode: 0o711, uid: 2 }), file('a/new', '2')),
    ],
    tree: ['a/ mode 711 owner 2:0 user.two=2', 'a/new "2"', 'a/old "1"'],
  },
  {
    name: 'a parent that is a symlink in a lower layer',
    note: SHADOW,
    layers: [
      tar(directory('real'), file('real/old', '1'), symlink('link', 'real')),
      tar(file('link/new', '2')),
    ],
    tree: ['link/ at 0', 'link/new "2"', 'real/', 'real/old "1"'],
  },
  {
    name: 'a parent that is a dangling symlink in a lower layer',
    note: SHADOW,
    layers: [tar(symlink('link', '/missing')), tar(file('link/new', '2'))],
    tree: ['link/ at 0', 'link/new "2"'],
  },
  {
    name: 'a parent that is a file in a lower layer',
    note: SHADOW,
    layers: [tar(file('a', 'old')), tar(file('a/b/new', '2'))],
    tree: ['a/ at 0', 'a/b/ at 0', 'a/b/new "2"'],
  },
  {
    name: 'a parent that is a symlink of the same layer',
    note: 'It is followed inside the root, even if its target is absolute or leads outside.',
    layers: [
      tar(
        ...[directory('real'), symlink('absolute', '/real'), symlink('climbing', '../../real')],
        ...[file('absolute/a', '1'), file('climbing/b', '2')],
      ),
    ],
    tree: ['absolute -> /real', 'climbing -> ../../real', 'real/', 'real/a "1"', 'real/b "2"'],
  },
  {
    name: 'a parent that is a symlink of the same layer to a lower directory',
    note: 'The symlink leads into the lower directory.',
    layers: [
      tar(directory('real', { mode: 0o711 }), file('real/old', '1')),
      tar(symlink('link', 'real'), file('link/new', '2')),
    ],
    tree: ['link -> real', 'real/ mode 711', 'real/new "2"', 'real/old "1"'],
  },
  {
    name: 'a parent that is a dangling symlink of the same layer',
    note: 'The directories that it points to are created.',
    layers: [tar(symlink('link', 'to/be'), file('link/a', 'x'))],
    tree: ['link -> to/be', 'to/ at 0', 'to/be/ at 0', 'to/be/a "x"'],
  },
]
