import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import type { ConformanceCase } from '../case.js'
import { same } from '../subject.js'
import { chunksOf, tarOf, THEN, type TarEntry } from '../tar-of.js'
import { mustComeBack } from './editing.js'

const LOWER: readonly TarEntry[] = [
  { name: 'dir/' },
  { name: 'dir/a', content: 'a' },
  { name: 'dir/sub/' },
  { name: 'dir/sub/b', content: 'b' },
  { name: 'file', content: 'old' },
  { name: 'keep', content: 'keep' },
]

/** A version 2 capability: effective, net_raw. */
const CAPABILITY = '\u0001\u0000\u0000\u0002\u0000\u0020\u0000\u0000' + '\u0000'.repeat(12)

/**
 * Stacks of tars and the trees that they must make, by the rules of the OCI image-spec (layer, Applying Changesets).
 */
export const applying: readonly ConformanceCase[] = [
  tars('strips leading slashes and dots from names, and skips the root', {
    layers: [
      [
        { name: './', mode: 0o700 },
        { name: '/a/' },
        { name: './a//b', content: '1' },
        { name: 'a/x/../c', content: '2' },
      ],
    ],
    tree: { '/a/b': 'file 644 0:0 "1"', '/a/c': 'file 644 0:0 "2"' },
  }),
  tars('lets a whiteout hide an object of lower layers, with everything below it', {
    layers: [LOWER, [{ name: '.wh.dir' }, { name: '.wh.file' }]],
    tree: { '/keep': 'file 644 0:0 "keep"' },
    absent: ['/dir', '/dir/a', '/file', '/.wh.dir', '/.wh.file'],
  }),
  tars('never lets a whiteout hide an entry of its own layer, before or after it', {
    layers: [
      LOWER,
      [
        { name: 'file', content: 'new', mtimeNs: THEN + 1n },
        { name: '.wh.file' },
        { name: '.wh.dir' },
        { name: 'dir/' },
        { name: 'dir/mine', content: 'mine' },
      ],
    ],
    tree: { '/file': 'file 644 0:0 "new"', '/dir': 'directory 755 0:0', '/dir/mine': 'file 644 0:0 "mine"' },
    absent: ['/dir/a', '/dir/sub'],
  }),
  tars('lets an opaque marker hide only lower children, wherever it is in the tar', {
    layers: [
      LOWER,
      [
        { name: 'dir/' },
        { name: 'dir/before', content: '1' },
        { name: 'dir/.wh..wh..opq' },
        { name: 'dir/after', content: '2' },
      ],
    ],
    tree: { '/dir/before': 'file 644 0:0 "1"', '/dir/after': 'file 644 0:0 "2"' },
    absent: ['/dir/a', '/dir/sub', '/dir/.wh..wh..opq'],
  }),
  tars('accepts a whiteout of a missing name, in a missing directory or below a file', {
    layers: [LOWER, [{ name: '.wh.none' }, { name: 'gone/.wh.none' }, { name: 'file/.wh.none' }]],
    tree: { '/keep': 'file 644 0:0 "keep"', '/dir/a': 'file 644 0:0 "a"' },
  }),
  tars('skips AUFS metadata', {
    layers: [
      [{ name: '.wh..wh.aufs' }, { name: '.wh..wh.plnk/' }, { name: '.wh..wh.plnk/1.2', content: 'x' }],
    ],
    tree: {},
    absent: ['/.wh..wh.aufs', '/.wh..wh.plnk'],
  }),
  tars('merges a directory with a lower directory, which takes the attributes of the entry', {
    layers: [LOWER, [{ name: 'dir/', mode: 0o711, uid: 5, gid: 6 }]],
    tree: { '/dir': 'directory 711 5:6', '/dir/a': 'file 644 0:0 "a"' },
  }),
  tars('keeps attributes of a lower directory that has no entry', {
    layers: [
      [{ name: 'dir/', mode: 0o1770, uid: 7, gid: 8, xattrs: { 'user.a': 'b' } }],
      [{ name: 'dir/new', content: 'x' }],
    ],
    tree: { '/dir': 'directory 1770 7:8 user.a=62', '/dir/new': 'file 644 0:0 "x"' },
  }),
  tars('creates directories without an entry as root, with mode 0755', {
    layers: [[{ name: 'a/b/c', content: 'x', uid: 9, gid: 9 }]],
    tree: { '/a': 'directory 755 0:0', '/a/b': 'directory 755 0:0' },
  }),
  tars('shadows a lower symlink in place of a parent without an entry, and does not follow it', {
    layers: [
      [{ name: 'target/' }, { name: 'way', type: 'symlink', linkName: 'target' }],
      [{ name: 'way/file', content: 'x' }],
    ],
    tree: { '/way': 'directory 755 0:0', '/way/file': 'file 644 0:0 "x"' },
    absent: ['/target/file'],
  }),
  tars('follows symlinks of the same layer, inside the root', {
    layers: [
      [
        { name: 'target/' },
        { name: 'way', type: 'symlink', linkName: '../../../target' },
        { name: 'way/file', content: 'x' },
      ],
    ],
    tree: { '/target/file': 'file 644 0:0 "x"', '/way': 'symlink 777 0:0 -> ../../../target' },
  }),
  tars('replaces an existing object of any type', {
    layers: [
      [
        { name: 'a', content: 'file' },
        { name: 'b/' },
        { name: 'b/c', content: 'x' },
        { name: 'd', type: 'symlink', linkName: 'a' },
        { name: 'e', type: 'fifo' },
      ],
      [
        { name: 'a/' },
        { name: 'b', content: 'file' },
        { name: 'd', content: 'file' },
        { name: 'e', type: 'symlink', linkName: 'b' },
      ],
    ],
    tree: {
      '/a': 'directory 755 0:0',
      '/b': 'file 644 0:0 "file"',
      '/d': 'file 644 0:0 "file"',
      '/e': 'symlink 777 0:0 -> b',
    },
  }),
  tars('keeps the last of several entries with one name', {
    layers: [
      [
        { name: 'a', content: 'first' },
        { name: 'a', content: 'last', mode: 0o600 },
      ],
    ],
    tree: { '/a': 'file 600 0:0 "last"' },
  }),
  tars('makes hard links to files of this layer and of lower layers, and to symlinks', {
    layers: [
      [...LOWER, { name: 'sym', type: 'symlink', linkName: 'nowhere' }],
      [
        { name: 'one', content: '1' },
        { name: 'two', type: 'link', linkName: 'one' },
        { name: 'lower', type: 'link', linkName: 'file' },
        { name: 'sym2', type: 'link', linkName: 'sym' },
      ],
    ],
    tree: { '/two': '= /one', '/lower': '= /file', '/sym2': '= /sym' },
  }),
  tars('keeps owners above 2^21, every mode bit, nanosecond times and binary xattrs', {
    layers: [
      [
        {
          name: 'a',
          content: 'x',
          mode: 0o7777,
          uid: 4_000_000_000,
          gid: 3_000_000,
          mtimeNs: THEN + 123_456_789n,
          xattrs: { 'user.b': '\u0000\u00ff\n=' },
        },
      ],
    ],
    tree: { '/a': 'file 7777 4000000000:3000000 user.b=00ff0a3d "x"' },
  }),
  tars('keeps file capabilities, although a change of owner clears them', {
    layers: [[{ name: 'ping', mode: 0o755, uid: 1, xattrs: { 'security.capability': CAPABILITY } }]],
    tree: {
      '/ping': `file 755 1:0 security.capability=${Buffer.from(CAPABILITY, 'latin1').toString('hex')} ""`,
    },
    needsNativeAttributes: true,
  }),
  tars('keeps devices', {
    layers: [
      [
        { name: 'null', type: 'char', mode: 0o666, device: { major: 1, minor: 3 } },
        { name: 'disk', type: 'block', mode: 0o660, gid: 6, device: { major: 8, minor: 1 } },
      ],
    ],
    tree: { '/null': 'char 666 0:0 1:3', '/disk': 'block 660 0:6 8:1' },
  }),
  refusal('that lead outside the root', [{ name: '../outside', content: 'x' }]),
  refusal('of whiteouts without a target', [{ name: 'dir/.wh.' }]),
  refusal('of whiteouts of the parent directory', [{ name: 'dir/.wh...' }]),
  {
    name: 'writes nothing outside the layer through any links of a tar',
    async run(subject) {
      await subject.layer('victim', undefined, [{ do: 'create', path: '/file', content: 'untouched' }])
      await subject.layerOfTar('attack', undefined, [
        { name: 'up', type: 'symlink', linkName: '../../../../../../../../../../..' },
        { name: `up${subject.root}/escaped`, content: 'x' },
        { name: 'root', type: 'symlink', linkName: '/' },
        { name: `root${subject.root}/escaped`, content: 'x' },
      ])
      assert.equal(existsSync(`${subject.root}/escaped`), false, 'a file was created outside the layer')
      await subject.mustMatchReference('victim')
    },
  },
  {
    name: 'refuses a truncated tar',
    async run(subject) {
      await subject.driver.create('base')
      const tar = tarOf([{ name: 'a', content: 'x'.repeat(5000) }]).subarray(0, 3000)
      await assert.rejects(subject.driver.applyDiff('base', undefined, chunksOf(tar)))
      await subject.driver.remove('base')
      assert.deepEqual(await subject.driver.list(), [])
    },
  },
]

interface Stack {
  readonly layers: readonly (readonly TarEntry[])[]
  /** Lines that must be in the tree, as in `treeOf`. */
  readonly tree: Readonly<Record<string, string>>
  readonly absent?: readonly string[]
  readonly needsNativeAttributes?: boolean
}

function tars(name: string, { layers, tree, absent = [], needsNativeAttributes }: Stack): ConformanceCase {
  return {
    name,
    unless: ({ capabilities }) =>
      needsNativeAttributes === true && !capabilities.nativeAttributes
        ? 'the driver does not keep attributes in inodes'
        : undefined,
    async run(subject) {
      for (const [index, entries] of layers.entries()) {
        await subject.layerOfTar(`layer${index}`, idBelow(index), entries)
      }
      const top = `layer${layers.length - 1}`
      const actual = await subject.tree(top)
      const expected = new Map(actual)
      for (const path of absent) expected.delete(path)
      for (const [path, line] of Object.entries(tree)) expected.set(path, withNames(line, actual.get(path)))
      same(actual, expected, 'the tree made from the tars')
      for (const index of layers.keys()) await mustComeBack(subject, `layer${index}`, idBelow(index))
    },
  }
}

/** `= /one` is compared with the end of the line only, because a link has the attributes of what it links to. */
function withNames(line: string, actual = ''): string {
  return line.startsWith('= ') && actual.endsWith(` ${line}`) ? actual : line
}

function refusal(names: string, entries: readonly TarEntry[]): ConformanceCase {
  return {
    name: `refuses names ${names}`,
    async run(subject) {
      await subject.driver.create('base')
      await assert.rejects(subject.apply('base', undefined, tarOf(entries)), { code: 'LAYER_INVALID' })
      await subject.driver.remove('base')
    },
  }
}

function idBelow(index: number): string | undefined {
  return index === 0 ? undefined : `layer${index - 1}`
}
