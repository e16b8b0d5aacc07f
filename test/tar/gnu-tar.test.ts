import { execFileSync } from 'node:child_process'
import { afterAll, expect, it } from 'vitest'
import { HostFs } from '#layerstack/fs/host/host-fs.js'
import { diffParts } from '#layerstack/tar/diff.js'
import { TarReader } from '#layerstack/tar/reader.js'
import { bytes, describeTree, FORMS, removeScratch, scratch } from './stacks.js'

afterAll(removeScratch)

const isRoot = process.getuid?.() === 0
const FLAGS = ['--xattrs', '--xattrs-include=user.*']

/** A tree that GNU tar can read and write as the current user. */
function makeTree(): HostFs {
  const fs = new HostFs({ kind: 'host', root: scratch() })
  fs.mkdir(bytes('dir'), 0o750)
  const long = bytes(`dir/${'ä'.repeat(100)}`)
  for (const path of [bytes('dir/file'), long, bytes('empty')]) {
    const file = fs.open(path, 0o102, 0o640)
    if (path !== 'empty') file.write(Buffer.alloc(100_000, path), 0)
    file.close()
  }
  fs.setxattr(bytes('dir/file'), bytes('user.note'), Buffer.from('\0\xff\n', 'latin1'))
  fs.link(bytes('dir/file'), bytes('again'))
  fs.symlink(long, bytes('symlink'))
  fs.mknod(bytes('fifo'), 'fifo', 0o600)
  if (isRoot) fs.chown(bytes('dir/file'), 3_000_000, 5)
  const sparse = fs.open(bytes('sparse'), 0o102, 0o644)
  sparse.truncate(10_000_000)
  sparse.write(Buffer.from('in the middle'), 5_000_000)
  sparse.close()
  return fs
}

it.each([
  ['pax', ['--format=pax']],
  ['pax, sparse', ['--format=pax', '--sparse']],
  ['pax, sparse 0.0', ['--format=pax', '--sparse', '--sparse-version=0.0']],
  ['pax, sparse 0.1', ['--format=pax', '--sparse', '--sparse-version=0.1']],
])('a tar of GNU tar gives the same tree (%s)', (_, flags) => {
  const tree = makeTree()
  const tar = execFileSync('tar', ['-cf', '-', ...flags, ...FLAGS, '-C', tree.hostPath, '.'], {
    maxBuffer: 1 << 30,
  })
  for (const { stack } of FORMS) {
    const layers = stack()
    layers.applyParts(partsIn(tar))
    expect(describeTree(layers.view)).toEqual(describeTree(tree))
  }
})

it('a tar of GNU tar in gnu format gives the same tree, except xattrs and fractions of seconds', () => {
  const tree = makeTree()
  const tar = execFileSync('tar', ['-cSf', '-', '--format=gnu', '-C', tree.hostPath, '.'], {
    maxBuffer: 1 << 30,
  })
  const withoutFractions = (lines: string[]) =>
    lines.map((line) => line.replace(/(\d{10})\d{9}/, '$1').replace(/ user\.note=\0\xff\n/, ''))
  for (const { stack } of FORMS) {
    const layers = stack()
    layers.applyParts(partsIn(tar))
    expect(withoutFractions(describeTree(layers.view))).toEqual(withoutFractions(describeTree(tree)))
  }
})

it('a diff gives the same tree when GNU tar extracts it', () => {
  const tree = makeTree()
  const out = scratch()
  const tar = Buffer.concat([...diffBytes(tree)])
  execFileSync('tar', ['-xpf', '-', ...FLAGS, '-C', out], { input: tar })
  expect(describeTree(new HostFs({ kind: 'host', root: out }))).toEqual(describeTree(tree))
})

function* partsIn(tar: Buffer): ReturnType<TarReader['push']> {
  const reader = new TarReader()
  for (let at = 0; at < tar.length; at += 10_007) yield* reader.push(tar.subarray(at, at + 10_007))
  yield* reader.end()
}

function* diffBytes(upper: HostFs): Generator<Buffer> {
  for (const part of diffParts({ upper })) yield Buffer.from(part.bytes)
}
