import type { OddLayer } from './odd-layer.js'
import { block, directory, file, hardLink, symlink, tar } from './raw-tar.js'

const LOWER = tar(
  directory('dir', { mode: 0o750, uid: 3 }),
  file('dir/old', 'old'),
  directory('dir/sub'),
  file('dir/sub/old', 'old'),
  file('file', 'old'),
)
const FILE = 'file "old"'
const DIR = ['dir/ mode 750 owner 3:0', 'dir/old "old"', 'dir/sub/', 'dir/sub/old "old"']
const RULE = 'image-spec: a whiteout hides an object of lower layers, and never an entry of its own layer.'
const OPAQUE = 'image-spec: an opaque marker hides the children in lower layers, wherever it is in the tar.'

export const oddWhiteouts: readonly OddLayer[] = [
  {
    name: 'a whiteout before the file of its name',
    note: RULE,
    layers: [LOWER, tar(file('.wh.file'), file('file', 'newer'))],
    tree: [...DIR, 'file "newer"'],
  },
  {
    name: 'a whiteout after the file of its name',
    note: RULE,
    layers: [LOWER, tar(file('file', 'newer'), file('.wh.file'))],
    tree: [...DIR, 'file "newer"'],
  },
  {
    name: 'a whiteout before the directory of its name',
    note: `${RULE} The directory is new.`,
    layers: [LOWER, tar(file('.wh.dir'), directory('dir'), file('dir/new', 'newer'))],
    tree: ['dir/', 'dir/new "newer"', FILE],
  },
  {
    name: 'a whiteout after the directory of its name',
    note: `${RULE} The directory is new.`,
    layers: [LOWER, tar(directory('dir'), file('dir/new', 'newer'), directory('dir/sub'), file('.wh.dir'))],
    tree: ['dir/', 'dir/new "newer"', 'dir/sub/', FILE],
  },
  {
    name: 'a whiteout of a directory that has children but no entry in its layer',
    note: 'The lower directory is hidden with its attributes: the implied directory gets defaults.',
    layers: [LOWER, tar(file('.wh.dir'), file('dir/new', 'newer'))],
    tree: ['dir/ at 0', 'dir/new "newer"', FILE],
  },
  {
    name: 'a whiteout after the children of a directory without an entry',
    note: 'As for a whiteout before the children: the order in a tar does not matter.',
    layers: [LOWER, tar(file('dir/new', 'newer'), file('.wh.dir'))],
    tree: ['dir/ at 0', 'dir/new "newer"', FILE],
  },
  {
    name: 'a whiteout of a directory, then whiteouts in the directory',
    note: 'Whiteouts create nothing: they do not imply a directory.',
    layers: [LOWER, tar(file('.wh.dir'), file('dir/.wh.old'), file('dir/sub/.wh.old'))],
    tree: [FILE],
  },
  {
    name: 'whiteouts in a directory, then a whiteout of the directory',
    note: 'Whiteouts create nothing, in any order.',
    layers: [LOWER, tar(file('dir/.wh.old'), file('dir/sub/.wh.old'), file('.wh.dir'))],
    tree: [FILE],
  },
  {
    name: 'whiteouts of missing objects',
    note: 'Not an error: in a missing directory, below a file, in the lowest layer.',
    layers: [
      tar(file('.wh.nothing'), file('file', 'old')),
      tar(file('.wh.missing'), file('gone/.wh.missing'), file('file/.wh.below')),
    ],
    tree: [FILE],
  },
  {
    name: 'a whiteout that the next layer undoes',
    note: 'The hidden content stays hidden: a recreated directory is new.',
    layers: [
      LOWER,
      tar(file('.wh.dir'), file('.wh.file')),
      tar(file('dir/new', 'newer'), file('file', 'newer')),
    ],
    tree: ['dir/ at 0', 'dir/new "newer"', 'file "newer"'],
  },
  {
    name: 'whiteouts that are not empty files',
    note: 'Only the name counts, not the type, the content or the attributes.',
    layers: [
      LOWER,
      tar(
        file('dir/.wh.old', 'content', { mode: 0o4755, uid: 9 }),
        symlink('.wh.file', 'dir'),
        directory('dir/.wh.sub'),
      ),
    ],
    tree: [DIR[0] as string],
  },
  {
    name: 'a whiteout through a symlink of a lower layer',
    note: 'A lower symlink is not a directory of this layer: it is not followed, and the whiteout hides nothing.',
    layers: [tar(directory('real'), file('real/a', 'a'), symlink('link', 'real')), tar(file('link/.wh.a'))],
    tree: ['link -> real', 'real/', 'real/a "a"'],
  },
  {
    name: 'a character device 0:0',
    note: 'overlayfs treats it as a whiteout; a tar marks whiteouts by name, so it is skipped.',
    layers: [LOWER, tar(block({ name: 'file', flag: '3' }), block({ name: 'new', flag: '3' }))],
    tree: [...DIR, FILE],
  },
  {
    name: 'an opaque marker before its entries',
    note: OPAQUE,
    layers: [LOWER, tar(directory('dir'), file('dir/.wh..wh..opq'), file('dir/new', 'newer'))],
    tree: ['dir/', 'dir/new "newer"', FILE],
  },
  {
    name: 'an opaque marker after its entries',
    note: OPAQUE,
    layers: [LOWER, tar(directory('dir'), file('dir/new', 'newer'), file('dir/.wh..wh..opq'))],
    tree: ['dir/', 'dir/new "newer"', FILE],
  },
  {
    name: 'an opaque marker before its directory',
    note: OPAQUE,
    layers: [LOWER, tar(file('dir/.wh..wh..opq'), file('dir/new', 'newer'), directory('dir'))],
    tree: ['dir/', 'dir/new "newer"', FILE],
  },
  {
    name: 'an opaque marker after directories that have lower children',
    note: `${OPAQUE} Lower content further down is hidden as well.`,
    layers: [
      LOWER,
      tar(directory('dir'), directory('dir/sub'), file('dir/sub/new', 'newer'), file('dir/.wh..wh..opq')),
    ],
    tree: ['dir/', 'dir/sub/', 'dir/sub/new "newer"', FILE],
  },
  {
    name: 'an opaque marker after a directory without an entry',
    note: 'The implied directory keeps the attributes of the lower one, which is not hidden itself.',
    layers: [LOWER, tar(file('dir/new', 'newer'), file('dir/.wh..wh..opq'))],
    tree: ['dir/ mode 750 owner 3:0', 'dir/new "newer"', FILE],
  },
  {
    name: 'an opaque marker alone',
    note: OPAQUE,
    layers: [LOWER, tar(file('dir/.wh..wh..opq'))],
    tree: ['dir/ mode 750 owner 3:0', FILE],
  },
  {
    name: 'an opaque marker in the root',
    note: `${OPAQUE} The root is a directory as well.`,
    layers: [LOWER, tar(file('new', 'newer'), file('.wh..wh..opq'))],
    tree: ['new "newer"'],
  },
  {
    name: 'opaque markers with nothing to hide',
    note: 'Not an error: in the lowest layer, in a new directory.',
    layers: [
      tar(directory('a'), file('a/.wh..wh..opq'), file('a/x', '1')),
      tar(directory('b'), file('b/x', '2'), file('b/.wh..wh..opq')),
    ],
    tree: ['a/', 'a/x "1"', 'b/', 'b/x "2"'],
  },
  {
    name: 'an opaque marker and whiteouts in one directory',
    note: 'Both mean the same; AUFS wrote both.',
    layers: [
      LOWER,
      tar(directory('dir'), file('dir/.wh.old'), file('dir/.wh..wh..opq'), file('dir/old', 'newer')),
    ],
    tree: ['dir/', 'dir/old "newer"', FILE],
  },
  {
    name: 'AUFS metadata',
    note: 'Docker on AUFS wrote it into layers; names that begin with `.wh..wh.` are skipped.',
    layers: [
      tar(
        ...[file('.wh..wh.aufs'), directory('.wh..wh.orph'), directory('.wh..wh.plnk')],
        ...[file('.wh..wh.orph/x', 'x'), file('dir/.wh..wh.tmp', 'x'), file('a', 'a')],
      ),
    ],
    tree: ['a "a"'],
  },
  {
    name: 'hard links to AUFS pseudo-links',
    note: 'Docker on AUFS kept the content of hard links in `.wh..wh.plnk`; the links must resolve to it.',
    layers: [
      tar(
        ...[directory('.wh..wh.plnk'), file('.wh..wh.plnk/12.34', 'content', { mode: 0o600, uid: 5 })],
        ...[hardLink('a', '.wh..wh.plnk/12.34'), hardLink('b', '.wh..wh.plnk/12.34')],
      ),
    ],
    tree: ['a mode 600 owner 5:0 "content"', 'b = a'],
  },
]
