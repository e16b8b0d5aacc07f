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
    name: 'hard links to objects other than files',
    note: 'Linux also links symlinks, FIFOs and devices.',
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
    note: 'A link to a lower file is another name of it, with its attributes; the file does not change.',
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
    name: 'a hard link to a lower file with several names',
    note: 'It joins all of them: a layer cannot separate names that it does not contain.',
    layers: [tar(file('a', 'old'), directory('d'), hardLink('d/b', 'a')), tar(hardLink('c', 'a'))],
    tree: ['a "old"', 'c = a', 'd/', 'd/b = a'],
  },
  {
    name: 'a hard link to a lower file that is hidden later',
    note: 'The lower name disappears; the new name keeps the content.',
    layers: [tar(file('a', 'old')), tar(hardLink('b', 'a'), file('.wh.a'))],
    tree: ['b "old"'],
  },
  {
    name: 'a hard link to a lower file in a directory that becomes opaque later',
    note: 'The lower name disappears; the new name keeps the content.',
    layers: [
      tar(directory('d'), file('d/a', 'old')),
      tar(hardLink('b', 'd/a'), directory('d'), file('d/.wh..wh..opq'), file('d/c', 'newer')),
    ],
    tree: ['b "old"', 'd/', 'd/c "newer"'],
  },
  {
    name: 'a hard link to a lower file that is replaced later',
    note: 'The link is to the file that existed when the link was read; the new file is a different file.',
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
    name: 'hard links with unclean target names',
    note: 'The name of a target is cleaned like every name.',
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
    note: 'It changes nothing.',
    layers: [tar(file('a', 'x'), hardLink('a', 'a')), tar(hardLink('a', './a'))],
    tree: ['a "x"'],
  },
  {
    name: 'a hard link with a size',
    note: 'cpio and old tars wrote the size of the file; no content follows (Go).',
    layers: [tar(file('a', 'content'), hardLink('b', 'a', { size: 7 }), file('c', 'x'))],
    tree: ['a "content"', 'b = a', 'c "x"'],
  },
  {
    name: 'a hard link with attributes of its own',
    note: 'They are ignored: the attributes are those of the inode, set by the first name (GNU tar).',
    layers: [
      tar(file('a', 'x', { mode: 0o600, uid: 1 }), hardLink('b', 'a', { mode: 0o777, uid: 2, mtime: 5 })),
    ],
    tree: ['a mode 600 owner 1:0 "x"', 'b = a'],
  },
  {
    name: 'a hard link through a symlink of its layer',
    note: 'Symlinks of the same layer are followed, inside the root.',
    layers: [tar(directory('real'), file('real/a', 'x'), symlink('s', '/real'), hardLink('b', 's/a'))],
    tree: ['b "x"', 'real/', 'real/a = b', 's -> /real'],
  },
  {
    name: 'hard links that replace existing objects',
    note: 'The existing object is replaced, a directory with all of its content.',
    layers: [
      tar(directory('dir'), file('dir/old'), file('file', 'old')),
      tar(file('a', 'x'), hardLink('dir', 'a'), hardLink('file', 'a')),
    ],
    tree: ['a "x"', 'dir = a', 'file = a'],
  },
  {
    name: 'symlinks with any target',
    note: 'A target is text: absolute, outside the root, dangling, circular, with a trailing slash, or 1000 bytes long.',
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
