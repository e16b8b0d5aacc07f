/**
 * @module-tag every-identity
 * @module-tag unit
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { ByteString } from '#layerstack/fs/bytes.js'
import { compareTrees } from '#layerstack/fs/trees/compare.js'
import {
  copyEvidence,
  encodeCopyRecord,
  readCopyRecord,
  type Evidence,
} from '#layerstack/fs/trees/evidence.js'
import { MemoryFs } from '#layerstack/fs/memory/memory-fs.js'
import type { SyncFile, SyncStat } from '#layerstack/fs/sync-fs.js'
import { changeLines } from '../support/change-lines.js'

const bytes = (text: string) => text as ByteString
const SECOND = 1_000_000_000n
const NOW = 1_000_000_000n * SECOND

/** Returns a tree with its own inodes. Trees differ only in what `change` does. */
function tree(change: (fs: MemoryFs) => void = () => {}): MemoryFs {
  const fs = new MemoryFs()
  for (const path of ['d', 'd/sub', 'e']) fs.mkdir(bytes(path), 0o755)
  for (const path of ['d/a', 'd/sub/b', 'e/c']) put(fs, path, 'content')
  fs.symlink(bytes('target'), bytes('s'))
  fs.mknod(bytes('n'), 'char', 0o600, { major: 5, minor: 1 })
  for (const path of ['d', 'd/sub', 'e', 'd/a', 'd/sub/b', 'e/c', 's', 'n']) fs.utimes(bytes(path), NOW, NOW)
  change(fs)
  return fs
}

function put(fs: MemoryFs, path: string, content: string): void {
  const file = fs.open(bytes(path), 0o1102, 0o644)
  file.write(Buffer.from(content), 0)
  file.utimes(NOW, NOW)
  file.close()
}

function changes(upper: MemoryFs, lower: MemoryFs | undefined = tree()): string[] {
  return changeLines(compareTrees(upper, lower))
}

describe('compareTrees()', () => {
  it('yields nothing for equal trees', () => {
    expect(changes(tree())).toEqual([])
  })

  it('yields every object without a lower tree', () => {
    expect(changeLines(compareTrees(tree(), undefined))).toEqual([
      ...['add d', 'add d/a', 'add d/sub', 'add d/sub/b', 'add e', 'add e/c', 'add n', 'add s'],
    ])
  })

  it.each<[string, (fs: MemoryFs) => void]>([
    ['mode', (fs) => fs.chmod(bytes('d/a'), 0o600)],
    ['set-id bits', (fs) => fs.chmod(bytes('d/a'), 0o4644)],
    ['owner', (fs) => fs.chown(bytes('d/a'), 1, 0)],
    ['group', (fs) => fs.chown(bytes('d/a'), 0, 1)],
    ['xattr count', (fs) => fs.setxattr(bytes('d/a'), bytes('user.x'), Buffer.from(''))],
    ['size', (fs) => put(fs, 'd/a', 'content and more')],
    ['time (one second and one nanosecond later)', (fs) => touched(fs, NOW + SECOND + 1n)],
    ['type', (fs) => (fs.unlink(bytes('d/a')), fs.symlink(bytes('content'), bytes('d/a')))],
  ])('lists a file and its directory after a change of %s', (_, change) => {
    expect(changes(tree(change))).toEqual(['modify d', 'modify d/a'])
  })

  it('lists changed xattr values, device numbers and symlink targets', () => {
    const withXattr = (value: string) =>
      tree((fs) => fs.setxattr(bytes('e'), bytes('user.x'), Buffer.from(value)))
    expect(changes(withXattr('a'), withXattr('b'))).toEqual(['modify e'])
    const other = tree((fs) => {
      fs.unlink(bytes('n'))
      fs.mknod(bytes('n'), 'char', 0o600, { major: 5, minor: 2 })
      fs.unlink(bytes('s'))
      fs.symlink(bytes('tegrat'), bytes('s'))
      for (const path of ['n', 's']) fs.utimes(bytes(path), NOW, NOW)
    })
    expect(changes(other)).toEqual(['modify n', 'modify s'])
  })

  it('ignores the times of directories, and xattrs that belong to the host', () => {
    const other = tree((fs) => {
      fs.utimes(bytes('d'), 1n, 2n)
      fs.setxattr(bytes('d/a'), bytes('security.selinux'), Buffer.from('label'))
    })
    expect(changes(other)).toEqual([])
  })

  it('lists an object with a new overlayfs xattr, which only a program can have set', () => {
    const set = (fs: MemoryFs) => fs.setxattr(bytes('e'), bytes('trusted.overlay.opaque'), Buffer.from('y'))
    expect(changes(tree(set))).toEqual(['modify e'])
  })

  it('compares contents if one of two times within a second lacks a fraction', () => {
    const lower = tree()
    expect(
      changes(
        tree((fs) => touched(fs, NOW + 5n)),
        lower,
      ),
    ).toEqual([])
    const written = tree((fs) => {
      put(fs, 'd/a', 'CONTENT')
      touched(fs, NOW + 5n)
    })
    expect(changes(written, lower)).toEqual(['modify d', 'modify d/a'])
    const [fine, finer] = [tree((fs) => touched(fs, NOW + 5n)), tree((fs) => touched(fs, NOW + 6n))]
    expect(changes(fine, finer)).toEqual(['modify d', 'modify d/a'])
  })

  it('reads files whose sizes and times are equal', () => {
    expect(changes(tree((fs) => put(fs, 'd/a', 'CONTENT')))).toEqual(['modify d', 'modify d/a'])
  })

  it('lists a name that left a hard link group', () => {
    const lower = tree((fs) => fs.link(bytes('d/a'), bytes('linked')))
    expect(
      changes(
        tree((fs) => put(fs, 'linked', 'content')),
        lower,
      ),
    ).toEqual(['modify linked'])
    const written = tree((fs) => (put(fs, 'linked', 'content'), put(fs, 'd/a', 'CONTENT')))
    expect(changes(written, lower)).toEqual(['modify d', 'modify d/a'])
  })

  it('lists all names of regrouped hard links', () => {
    const paired = (a: string, b: string) =>
      tree((fs) => {
        for (const name of ['1', '2']) put(fs, name, 'same')
        fs.link(bytes('1'), bytes(a))
        fs.link(bytes('2'), bytes(b))
      })
    expect(changes(paired('3', '4'), paired('3', '4'))).toEqual([])
    expect(changes(paired('4', '3'), paired('3', '4'))).toEqual([
      'modify 1',
      'modify 2',
      'modify 3',
      'modify 4',
    ])
  })

  it('lists a deleted or replaced directory without its old contents', () => {
    const clear = (fs: MemoryFs) => {
      fs.unlink(bytes('d/sub/b'))
      fs.rmdir(bytes('d/sub'))
    }
    expect(changes(tree(clear))).toEqual(['modify d', 'delete d/sub'])
    const replaced = (fs: MemoryFs) => (clear(fs), put(fs, 'd/sub', 'now a file'))
    expect(changes(tree(replaced))).toEqual(['modify d', 'modify d/sub'])
    expect(changes(tree(), tree(replaced))).toEqual(['modify d', 'modify d/sub', 'add d/sub/b'])
  })

  it('sorts paths component by component', () => {
    const upper = tree((fs) => {
      fs.mkdir(bytes('d-x'), 0o755)
      put(fs, 'd-x/f', '')
      put(fs, 'd/z', '')
    })
    expect(changes(upper)).toEqual(['modify d', 'add d/z', 'add d-x', 'add d-x/f'])
  })

  it('lists a file that gained a hard link, so that the new name can link to it', () => {
    expect(changes(tree((fs) => fs.link(bytes('d/a'), bytes('e/linked'))))).toEqual([
      ...['modify d', 'modify d/a', 'modify e', 'add e/linked'],
    ])
  })

  it('does not list a file that lost a hard link', () => {
    const lower = tree((fs) => fs.link(bytes('d/a'), bytes('linked')))
    expect(changes(tree(), lower)).toEqual(['delete linked'])
  })

  it('does not read a file that is the same inode in both trees', () => {
    const fs = tree()
    fs.createReference(bytes('r'), { fs: new MemoryFs(), path: bytes('not there'), size: 5 }, 0o644)
    expect(changes(fs, fs)).toEqual([])
  })

  it.each<[string, (fs: MemoryFs) => void]>([
    ['files in one directory', (fs) => many((at) => put(fs, `file${at}`, ''))],
    [
      'directories with one file',
      (fs) => many((at) => (fs.mkdir(bytes(`d${at}`), 0o755), put(fs, `d${at}/file`, ''))),
    ],
    ['empty directories', (fs) => many((at) => fs.mkdir(bytes(`d${at}`), 0o755))],
    ['nested directories', (fs) => many((at) => fs.mkdir(bytes('d/'.repeat(at) + 'd'), 0o755), 100)],
    ['chunks of content', (fs) => put(fs, 'large', 'x'.repeat(20 << 20))],
  ])('yields after fewer than 70 lookups and reads among equal %s', (_, fill) => {
    const [upper, lower] = [new CountedFs(), new CountedFs()]
    for (const fs of [upper, lower]) fill(fs)
    // Times without and with a fraction force a comparison of contents.
    for (const { name, type } of upper.readdir(bytes(''))) {
      if (type === 'file') upper.utimes(name, undefined, NOW + 5n)
    }
    const looks = [0]
    for (const found of compareTrees(upper, lower)) {
      expect(found).toBeUndefined()
      looks.push(upper.looks + lower.looks)
    }
    looks.push(upper.looks + lower.looks)
    expect(looks.at(-1)).toBeGreaterThan(150)
    expect(Math.max(...looks.slice(1).map((count, at) => count - (looks[at] as number)))).toBeLessThan(70)
  })
})

describe('copy evidence', () => {
  const opened = (change: (fs: MemoryFs) => void, evidence: (upper: MemoryFs) => Evidence | undefined) => {
    const [upper, lower] = [new CountedFs(), new MemoryFs()]
    for (const fs of [upper, lower]) {
      fs.mkdir(bytes('d'), 0o755)
      put(fs, 'd/a', 'content')
    }
    change(upper)
    const given = evidence(upper)
    upper.looks = 0
    return { lines: changeLines(compareTrees(upper, lower, given)), reads: upper.looks }
  }
  const record = (upper: MemoryFs, untilNs: bigint, fromNs = 0n) => ({
    parent: 'p',
    fromNs,
    untilNs,
    directories: new Map([[bytes('d'), upper.lstat(bytes('d')).ino]]),
  })
  const ctime = (upper: MemoryFs) => upper.lstat(bytes('d/a')).ctimeNs

  it('saves reading an untouched copy', () => {
    const { lines, reads } = opened(
      () => {},
      (upper) => copyEvidence(record(upper, ctime(upper) + 1n), upper),
    )
    expect(lines).toEqual([])
    expect(reads).toBe(2)
  })

  it.each<[string, (upper: MemoryFs) => Evidence | undefined]>([
    ['changed in the last clock tick', (fs) => copyEvidence(record(fs, ctime(fs)), fs)],
    ['changed before the copy began', (fs) => copyEvidence(record(fs, ctime(fs) + 2n, ctime(fs) + 1n), fs)],
    [
      'is in an unrecorded directory',
      (fs) => copyEvidence({ ...record(fs, 1n << 60n), directories: new Map() }, fs),
    ],
    ['was copied in the future', (fs) => copyEvidence(record(fs, 1n << 70n), fs)],
  ])('does not cover a file that %s', (_, evidence) => {
    expect(opened((fs) => put(fs, 'd/a', 'CONTENT'), evidence).lines).toEqual(['modify d', 'modify d/a'])
  })

  it('is read back from an intact record of the same parent only', () => {
    const file = join(mkdtempSync(join(tmpdir(), 'layerstack-record-')), 'record')
    const directories = new Map([[bytes('\u00ff/__proto__'), 1n << 63n]])
    const written = { parent: 'p', fromNs: -1n, untilNs: 1n << 62n, directories }
    writeFileSync(file, encodeCopyRecord(written))
    expect(readCopyRecord(file, 'p')).toEqual(written)
    expect(readCopyRecord(file, 'other')).toBeUndefined()
    for (const damaged of ['', '{}', 'null', encodeCopyRecord(written).slice(0, -1)]) {
      writeFileSync(file, damaged)
      expect(readCopyRecord(file, 'p')).toBeUndefined()
    }
    rmSync(dirname(file), { recursive: true })
    expect(readCopyRecord(file, 'p')).toBeUndefined()
  })
})

/** Counts lookups of objects and reads of content. */
class CountedFs extends MemoryFs {
  looks = 0

  override lstat(path: ByteString): SyncStat {
    this.looks++
    return super.lstat(path)
  }

  override open(path: ByteString, flags: number, mode?: number): SyncFile {
    const file = super.open(path, flags, mode)
    const read = file.read.bind(file)
    file.read = (...args) => {
      this.looks++
      return read(...args)
    }
    return file
  }
}

function many(make: (at: number) => void, count = 1000): void {
  for (let at = 0; at < count; at++) make(at)
}

function touched(fs: MemoryFs, mtimeNs: bigint): void {
  fs.utimes(bytes('d/a'), undefined, mtimeNs)
}
