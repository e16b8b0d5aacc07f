import type { OddLayer } from './odd-layer.js'
import { block, directory, file, hardLink, pax, symlink, tar } from './raw-tar.js'

const LOWER = tar(
  directory('dir'),
  file('dir/file', 'old', { mode: 0o640, uid: 4 }),
  symlink('dir/link', 'file', { uid: 5 }),
  block({ name: 'dir/fifo', flag: '6' }),
)
const FAR = 'far/'.repeat(200).slice(0, -1)

export const oddLinks: readonly OddLayer[] = [
  {
    name: 'hard links to what is no file',
    note: 'Linux links symlinks, FIFOs and devices as well.',
    layers: [
      tar(
        ...[symlink('a', 'nowhere'), hardLink('b', 'a'), block({ name: 'c', flag: '6' }), hardLink('d', 'c')],
        ...[block({ name: 'e', flag: '3', major: 1, minor: 3 }), hardLink('f', 'e')],
      ),
    ],
    tree: ['a -> nowhere', 'b = a', 'c fifo', 'd = c', 'e char 1:3', 'f = e'],
  },
  {
    name: 'hard links across layers',
    note: 'A link to a lower file is another name of it, with its attributes; nothing of it changes.',
    layers: [
      LOWER,
      tar(hardLink('file', 'dir/file'), hardLink('link', 'dir/link'), hardLink('fifo', 'dir/fifo')),
    ],
    tree: [
      ...['dir/', 'dir/fifo fifo', 'dir/file mode 640 owner 4:0 "old"', 'dir/link owner 5:0 -> file'],
      ...['fifo = dir/fifo', 'file = dir/file', 'link = dir/link'],
    ],
  },
  {
    name: 'hard links across three layers',
    note: 'Each layer may add a name.',
    layers: [LOWER, tar(hardLink('second', 'dir/file')), tar(hardLink('third', 'second'))],
    tree: [
      ...['dir/', 'dir/fifo fifo', 'dir/file mode 640 owner 4:0 "old"', 'dir/link owner 5:0 -> file'],
      ...['second = dir/file', 'third = dir/file'],
    ],
  },
  {
    name: 'a hard link to a lower file of several names',
    note: 'It joins them all: a layer cannot part names that it does not tell.',
    layers: [tar(file('a', 'old'), directory('d'), hardLink('d/b', 'a')), tar(hardLink('c', 'a'))],
    tree: ['a "old"', 'c = a', 'd/', 'd/b = a'],
  },
  {
    name: 'a hard link to a lower file that is hidden later on',
    note: 'The lower name goes, the new one keeps the content.',
    layers: [tar(file('a', 'old')), tar(hardLink('b', 'a'), file('.wh.a'))],
    tree: ['b "old"'],
  },
  {
    name: 'a hard link to a lower file in a directory that is opaque later on',
    note: 'The lower name goes, the new one keeps the content.',
    layers: [
      tar(directory('d'), file('d/a', 'old')),
      tar(hardLink('b', 'd/a'), directory('d'), file('d/.wh..wh..opq'), file('d/c', 'newer')),
    ],
    tree: ['b "old"', 'd/', 'd/c "newer"'],
  },
  {
    name: 'a hard link to a lower file that is replaced later on',
    note: 'The link is to what was there when it was read; the new file is another one.',
    layers: [tar(file('a', 'old')), tar(hardLink('b', 'a'), file('a', 'newer'))],
    tree: ['a "newer"', 'b "old"'],
  },
  {
    name: 'a linked file that is replaced in the same layer',
    note: 'Other names keep the old content: nothing is written through a link.',
    layers: [tar(file('a', 'old'), hardLink('b', 'a'), file('a', 'newer'))],
    tree: ['a "newer"', 'b "old"'],
  },
  {
    name: 'links whose names are not clean',
    note: 'The name of a target is cleaned as every name.',
    layers: [
      tar(
        directory('d'),
        file('d/a', 'x'),
        hardLink('b', '/d/a'),
        hardLink('c', './d//a'),
        hardLink('e', 'd/../d/a'),
      ),
    ],
    tree: ['b "x"', 'c = b', 'd/', 'd/a = b', 'e = b'],
  },
  {
    name: 'a hard link to itself',
    note: 'It is there already.',
    layers: [tar(file('a', 'x'), hardLink('a', 'a')), tar(hardLink('a', './a'))],
    tree: ['a "x"'],
  },
  {
    name: 'a hard link with a size',
    note: 'cpio and old tars wrote the size of the file; there is no content behind it (Go).',
    layers: [tar(file('a', 'content'), hardLink('b', 'a', { size: 7 }), file('c', 'x'))],
    tree: ['a "content"', 'b = a', 'c "x"'],
  },
  {
    name: 'a hard link with attributes of its own',
    note: 'They are those of the inode, which the first name brought (GNU tar).',
    layers: [
      tar(file('a', 'x', { mode: 0o600, uid: 1 }), hardLink('b', 'a', { mode: 0o777, uid: 2, mtime: 5 })),
    ],
    tree: ['a mode 600 owner 1:0 "x"', 'b = a'],
  },
  {
    name: 'a hard link through a symlink of its layer',
    note: 'Symlinks that the layer itself brought are followed, inside the root.',
    layers: [tar(directory('real'), file('real/a', 'x'), symlink('s', '/real'), hardLink('b', 's/a'))],
    tree: ['b "x"', 'real/', 'real/a = b', 's -> /real'],
  },
  {
    name: 'hard links in the place of something',
    note: 'What is there is replaced, a directory with all that is in it.',
    layers: [
      tar(directory('dir'), file('dir/old'), file('file', 'old')),
      tar(file('a', 'x'), hardLink('dir', 'a'), hardLink('file', 'a')),
    ],
    tree: ['a "x"', 'dir = a', 'file = a'],
  },
  {
    name: 'symlinks to anywhere',
    note: 'A target is text: absolute, climbing, dangling, round, with a slash behind it, up to 1000 bytes.',
    layers: [
      tar(
        ...[symlink('a', '/etc/passwd'), symlink('b', '../../../../etc'), symlink('c', 'missing//./x')],
        ...[symlink('d', 'd'), symlink('e', 'dir/'), symlink('f', '.wh.a'), pax([['linkpath', FAR]])],
        symlink('g', 'short'),
      ),
    ],
    tree: [
      ...['a -> /etc/passwd', 'b -> ../../../../etc', 'c -> missing//./x', 'd -> d', 'e -> dir/'],
      ...['f -> .wh.a', `g -> ${FAR}`],
    ],
  },
]
