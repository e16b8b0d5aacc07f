import type { OddLayer } from './odd-layer.js'
import { block, directory, file, hardLink, symlink, tar } from './raw-tar.js'

const REPLACED = 'image-spec: an existing object is replaced; only a directory merges with a directory.'
const DIRECTORY = tar(directory('real'), directory('x'), file('x/old', 'old'), directory('x/sub'))

export const oddTypes: readonly OddLayer[] = [
  {
    name: 'a file that becomes a directory',
    note: REPLACED,
    layers: [tar(file('x', 'old')), tar(directory('x'), file('x/new', 'newer'))],
    tree: ['x/', 'x/new "newer"'],
  },
  {
    name: 'a directory that becomes a file',
    note: REPLACED,
    layers: [DIRECTORY, tar(file('x', 'newer'))],
    tree: ['real/', 'x "newer"'],
  },
  {
    name: 'a directory that becomes a file and a directory again',
    note: `${REPLACED} The new directory shows nothing of the old directory (buildkit#2614).`,
    layers: [DIRECTORY, tar(file('x', 'newer')), tar(directory('x'), file('x/new', 'newer'))],
    tree: ['real/', 'x/', 'x/new "newer"'],
  },
  {
    name: 'a symlink that becomes a directory',
    note: `${REPLACED} The target of the symlink does not change.`,
    layers: [
      tar(directory('real'), file('real/old', 'old'), symlink('x', 'real')),
      tar(directory('x'), file('x/new', 'newer')),
    ],
    tree: ['real/', 'real/old "old"', 'x/', 'x/new "newer"'],
  },
  {
    name: 'a directory with children that becomes a symlink',
    note: REPLACED,
    layers: [DIRECTORY, tar(symlink('x', 'real'))],
    tree: ['real/', 'x -> real'],
  },
  {
    name: 'a directory that becomes a symlink, and files through it',
    note: 'The symlink is in the same layer, so it is followed.',
    layers: [DIRECTORY, tar(symlink('x', 'real'), file('x/new', 'newer'))],
    tree: ['real/', 'real/new "newer"', 'x -> real'],
  },
  {
    name: 'a directory that becomes a symlink and a directory again',
    note: REPLACED,
    layers: [DIRECTORY, tar(symlink('x', 'real')), tar(directory('x'), file('x/new', 'newer'))],
    tree: ['real/', 'x/', 'x/new "newer"'],
  },
  {
    name: 'a symlink that becomes a file',
    note: `${REPLACED} Nothing is written through it.`,
    layers: [tar(file('real', 'old'), symlink('x', 'real')), tar(file('x', 'newer'))],
    tree: ['real "old"', 'x "newer"'],
  },
  {
    name: 'every type replaced by another type',
    note: REPLACED,
    layers: [
      tar(
        ...[file('a', 'old'), symlink('b', 'old'), block({ name: 'c', flag: '6' })],
        ...[block({ name: 'd', flag: '3', major: 1, minor: 3 }), directory('e'), file('e/old')],
      ),
      tar(
        ...[
          symlink('a', 'newer'),
          block({ name: 'b', flag: '6' }),
          block({ name: 'c', flag: '4', major: 7 }),
        ],
        ...[directory('d'), block({ name: 'e', flag: '6' })],
      ),
      tar(...[directory('a'), file('b', 'newer'), symlink('c', 'newer'), file('d', 'newer'), directory('e')]),
    ],
    tree: ['a/', 'b "newer"', 'c -> newer', 'd "newer"', 'e/'],
  },
  {
    name: 'names with several entries',
    note: 'The last entry of a name counts (GNU tar, containerd).',
    layers: [
      tar(
        ...[
          file('a', 'first'),
          file('a', 'second'),
          file('b', 'x'),
          file('b'),
          symlink('c', 'd'),
          file('c', 'y'),
        ],
        ...[file('e', 'z'), hardLink('f', 'e'), hardLink('f', 'e')],
      ),
    ],
    tree: ['a "second"', 'b ""', 'c "y"', 'e "z"', 'f = e'],
  },
  {
    name: 'a name with two entries, a directory and a file',
    note: 'The last entry counts; a replaced directory is removed with its content.',
    layers: [
      tar(
        ...[directory('a'), file('a/b', 'x'), file('a', 'newer')],
        ...[file('c', 'old'), directory('c'), file('c/d', 'y')],
      ),
    ],
    tree: ['a "newer"', 'c/', 'c/d "y"'],
  },
]
