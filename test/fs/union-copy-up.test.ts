/** @module-tag every-identity */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { constants, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import type { ByteString } from '#layerstack/fs/bytes.js'
import type { SyncFs } from '#layerstack/fs/sync-fs.js'
import { UnionFs } from '#layerstack/fs/union/union-fs.js'
import { loopTurns } from '../support/loop-turns.js'
import { unless } from '../support/needs.js'
import { OverlayFixture, noOracle } from './overlay-fixture.js'
import { bytes, OLD_NS } from './union-layers.js'

const { O_CREAT, O_RDONLY, O_RDWR, O_WRONLY } = constants
const MIB = 1024 * 1024
const reason = noOracle()
const LARGE = 96 * MIB
const FILE = bytes('deep/dir/file')

const fixtures: OverlayFixture[] = []
afterEach(() => {
  for (const fixture of fixtures.splice(0)) fixture.remove()
})

describe('copy-up', () => {
  it('keeps the times of the file and of all its parent directories', () => {
    const union = prepared('content').union()
    union.chmod(FILE, 0o600)
    for (const path of ['', 'deep', 'deep/dir', 'deep/dir/file']) {
      expect(union.lstat(bytes(path)).mtimeNs, path).toBe(OLD_NS)
    }
  })

  it('leaves the other names of a hard link unchanged, and gives the copy its own identity', () => {
    const fixture = prepared('content')
    fixture.layers.low.link(FILE, bytes('second'))
    const union = fixture.union()
    expect(identity(union, bytes('second'))).toBe(identity(union, FILE))
    write(union, FILE, 'changed')
    expect(read(union, FILE)).toBe('changed')
    expect(read(union, bytes('second'))).toBe('content')
    expect(identity(union, bytes('second'))).not.toBe(identity(union, FILE))
    expect(union.lstat(FILE).nlink).toBe(1)
  })

  it('never changes the lower layer, even through a descriptor', () => {
    const fixture = prepared('content')
    const union = fixture.union()
    const file = union.open(FILE, O_RDONLY)
    file.chmod(0o600)
    file.utimes(1n, 2n)
    file.close()
    write(union, FILE, 'changed')
    expect(read(fixture.layers.low, FILE)).toBe('content')
    expect(fixture.layers.low.lstat(FILE)).toMatchObject({ mode: 0o640, mtimeNs: OLD_NS })
    expect(union.lstat(FILE)).toMatchObject({ mode: 0o600 })
  })

  it('does not change a lower file through a descriptor of a removed name', () => {
    const fixture = prepared('content')
    const union = fixture.union()
    const file = union.open(FILE, O_RDONLY)
    union.unlink(FILE)
    write(union, FILE, 'another')
    expect(() => file.chmod(0o600)).toThrow(expect.objectContaining({ code: 'EROFS' }))
    expect(fixture.layers.low.lstat(FILE).mode).toBe(0o640)
    expect(union.lstat(FILE).mode).toBe(0o644)
    file.close()
  })

  it('keeps holes', () => {
    const fixture = prepared('')
    const sparse = fixture.layers.low.open(FILE, O_RDWR)
    sparse.write(Buffer.from('start'), 0)
    sparse.write(Buffer.from('end'), 64 * MIB)
    sparse.close()
    const union = fixture.union()
    write(union, FILE, 'S')
    const { size, blocks } = union.lstat(FILE)
    expect(size).toBe(64 * MIB + 3)
    expect(blocks * 512).toBeLessThan(MIB)
    expect(read(union, FILE, 5)).toBe('Start')
    expect(read(union, FILE, 3, 64 * MIB)).toBe('end')
  })

  it('copies a file of several MiB to the last byte', () => {
    const content = Buffer.alloc(5 * MIB + 77, 'abcdefg')
    const fixture = prepared(content)
    const union = fixture.union()
    union.open(FILE, O_RDWR).close()
    expect(readWhole(union, FILE).equals(content)).toBe(true)
    expect(fixture.layers.upper.lstat(FILE).size).toBe(content.length)
  })

  it('leaves the bytes that a truncation keeps', () => {
    const union = prepared(Buffer.alloc(4 * MIB, 'x')).union()
    union.truncate(FILE, 3)
    expect(read(union, FILE)).toBe('xxx')
    expect(union.lstat(FILE).size).toBe(3)
  })

  it('removes leftovers of a crash from the work directory', () => {
    const fixture = prepared('content')
    const [directory, name] = fixture.workspace
    fixture.union().chmod(FILE, 0o600)
    writeFileSync(join(directory, `${name}1`), 'half')
    fixture.union().chmod(bytes('deep/other'), 0o600)
    expect(staged(fixture)).toEqual([])
  })

  it('works without a work directory', () => {
    const fixture = prepared('content')
    const { work: _none, ...spec } = fixture.spec
    const union = new UnionFs(spec)
    write(union, FILE, 'changed')
    union.unlink(bytes('deep/other'))
    union.mkdir(bytes('deep/other'), 0o755)
    const again = new UnionFs(spec)
    expect(read(again, FILE)).toBe('changed')
    expect(again.readdir(bytes('deep/other'))).toEqual([])
    expect(again.readdir(bytes('')).map(({ name }) => name)).toEqual(['deep'])
    expect(fixture.marks(bytes(''))).toEqual([
      '/deep directory',
      '/deep/dir directory',
      '/deep/dir/file file',
      '/deep/other directory',
    ])
  })

  it('leaves everything unchanged if no space is left', unless(reason), () => {
    const content = Buffer.alloc(8 * MIB, 'x')
    const fixture = prepared(content)
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', join(fixture.root, 'merged')])
    try {
      for (const name of ['upper', 'work']) mkdirSync(join(fixture.root, 'merged', name))
      const { lowers } = fixture.spec
      const upper = { kind: 'host', root: join(fixture.root, 'merged', 'upper') } as const
      const union = new UnionFs({ kind: 'union', upper, work: join(fixture.root, 'merged', 'work'), lowers })
      for (const call of [() => union.open(FILE, O_RDWR), () => union.chmod(FILE, 0o600)]) {
        expect(call).toThrow(expect.objectContaining({ code: 'ENOSPC' }))
      }
      expect(readWhole(union, FILE).equals(content)).toBe(true)
      expect(readdirSync(join(fixture.root, 'merged', 'work', 'work'))).toEqual([])
      union.truncate(FILE, 5)
      expect(read(union, FILE)).toBe('xxxxx')
    } finally {
      execFileSync('umount', [join(fixture.root, 'merged')])
    }
  })

  it('leaves every file whole when the process is killed', async () => {
    const content = Buffer.alloc(3 * MIB, 'abc')
    const fixture = prepared('')
    const names = Array.from({ length: 40 }, (_, number) => bytes(`deep/many-${number}`))
    for (const name of names) writeTo(fixture.layers.low, name, content)
    const child = spawn(process.execPath, [new URL('union-copier.mjs', import.meta.url).pathname], {
      env: { ...process.env, UNION_SPEC: JSON.stringify(fixture.spec), UNION_NAMES: names.join() },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(child.stdout, 'data')
    child.kill('SIGKILL')
    await once(child, 'exit')
    const copied = fixture.layers.upper.readdir(bytes('deep')).length
    expect(copied).toBeGreaterThan(0)
    expect(copied).toBeLessThan(names.length)
    const union = fixture.union()
    for (const name of names) {
      expect(readWhole(union, name).equals(content), name).toBe(true)
      expect(union.lstat(name).mtimeNs).toBe(OLD_NS)
    }
  })
})

describe('prepareWrite()', () => {
  it('copies up a large file without blocking the event loop', async () => {
    const content = Buffer.alloc(LARGE, 'layer')
    const fixture = prepared(content)
    const union = fixture.union()
    expect(await loopTurns(Promise.resolve(union.prepareWrite(FILE)))).toBeGreaterThan(5)
    expect(fixture.layers.upper.lstat(FILE)).toMatchObject({ size: LARGE, mode: 0o640, mtimeNs: OLD_NS })
    expect(readWhole(union, FILE).equals(content)).toBe(true)
  })

  it('copies up a small file if the union is not volatile', async () => {
    const fixture = prepared('small')
    await fixture.union({ volatile: false }).prepareWrite(FILE)
    expect(fixture.layers.upper.lstat(FILE)).toMatchObject({ size: 5, mode: 0o640, mtimeNs: OLD_NS })
    expect(staged(fixture)).toHaveLength(0)
  })

  it('skips small files of a volatile union, directories, missing names and read-only unions', async () => {
    const fixture = prepared('small')
    const union = fixture.union()
    await union.prepareWrite(FILE)
    await union.prepareWrite(bytes('deep'))
    await union.prepareWrite(bytes('deep/none'))
    expect(fixture.layers.upper.readdir(bytes(''))).toEqual([])
    expect(await fixture.below('upper').prepareWrite(FILE)).toBeUndefined()
  })

  it('makes one copy for concurrent callers', async () => {
    const fixture = prepared(Buffer.alloc(LARGE, 'x'))
    const union = fixture.union()
    const waits = [union.prepareWrite(FILE), union.prepareWrite(FILE), union.prepareWrite(FILE)]
    expect(staged(fixture)).toHaveLength(1)
    await Promise.all(waits)
    expect(staged(fixture)).toHaveLength(0)
    expect(union.lstat(FILE).size).toBe(LARGE)
  })

  it('rejects when aborted, and leaves no files', async () => {
    const fixture = prepared(Buffer.alloc(LARGE, 'x'))
    const union = fixture.union()
    const controller = new AbortController()
    const wait = union.prepareWrite(FILE, controller.signal)
    controller.abort(new Error('enough'))
    await expect(wait).rejects.toThrow('enough')
    await expect.poll(() => staged(fixture)).toHaveLength(0)
    expect(fixture.layers.upper.readdir(bytes(''))).toEqual([])
    await expect(union.prepareWrite(FILE, controller.signal)).rejects.toThrow('enough')
    await union.prepareWrite(FILE)
    expect(fixture.layers.upper.lstat(FILE).size).toBe(LARGE)
  })

  it('continues for the other callers when one of them aborts', async () => {
    const fixture = prepared(Buffer.alloc(LARGE, 'x'))
    const union = fixture.union()
    const controller = new AbortController()
    const first = union.prepareWrite(FILE, controller.signal)
    const second = union.prepareWrite(FILE)
    controller.abort()
    await expect(first).rejects.toThrow()
    await second
    expect(fixture.layers.upper.lstat(FILE).size).toBe(LARGE)
  })

  for (const [change, meanwhile, shows] of [
    ['written', (fs: SyncFs) => write(fs, FILE, 'mine'), 'mine'],
    ['removed', (fs: SyncFs) => fs.unlink(FILE), undefined],
    ['moved', (fs: SyncFs) => fs.rename(FILE, bytes('moved')), undefined],
    [
      'replaced',
      (fs: SyncFs) => {
        fs.unlink(FILE)
        write(fs, FILE, 'new')
      },
      'new',
    ],
  ] as const) {
    it(`discards its copy if the file is ${change} meanwhile`, async () => {
      const fixture = prepared(Buffer.alloc(LARGE, 'x'))
      const union = fixture.union()
      const wait = union.prepareWrite(FILE)
      meanwhile(union)
      await wait
      if (shows === undefined) {
        expect(() => union.lstat(FILE)).toThrow(expect.objectContaining({ code: 'ENOENT' }))
      } else {
        expect(read(union, FILE, shows.length)).toBe(shows)
      }
      expect(staged(fixture)).toHaveLength(0)
    })
  }

  it('rejects when the union is closed, and leaves no files', async () => {
    const fixture = prepared(Buffer.alloc(LARGE, 'x'))
    const union = fixture.union()
    const wait = union.prepareWrite(FILE)
    union.close()
    await expect(wait).rejects.toThrow()
    expect(staged(fixture)).toHaveLength(0)
    expect(fixture.layers.upper.readdir(bytes(''))).toEqual([])
  })
})

/** Returns a fixture whose lower layer has `deep/dir/file` with this content, and `deep/other`. */
function prepared(content: string | Uint8Array): OverlayFixture {
  const fixture = new OverlayFixture()
  fixtures.push(fixture)
  const { low } = fixture.layers
  low.mkdir(bytes('deep'), 0o755)
  low.mkdir(bytes('deep/dir'), 0o755)
  writeTo(low, FILE, Buffer.from(content))
  writeTo(low, bytes('deep/other'), Buffer.from('other'))
  for (const path of ['deep/dir', 'deep']) low.utimes(bytes(path), OLD_NS, OLD_NS)
  fixture.setTimes()
  return fixture
}

function writeTo(fs: SyncFs, path: ByteString, content: Buffer): void {
  const file = fs.open(path, O_WRONLY | O_CREAT, 0o640)
  for (let done = 0; done < content.length;) done += file.write(content.subarray(done), done)
  file.close()
  fs.utimes(path, OLD_NS, OLD_NS)
}

function write(fs: SyncFs, path: ByteString, content: string): void {
  const file = fs.open(path, O_WRONLY | O_CREAT, 0o644)
  file.write(Buffer.from(content), 0)
  file.close()
}

function read(fs: SyncFs, path: ByteString, length = 100, position = 0): string {
  const file = fs.open(path, O_RDONLY)
  const buffer = Buffer.alloc(length)
  const count = file.read(buffer, position)
  file.close()
  return buffer.toString('latin1', 0, count)
}

function readWhole(fs: SyncFs, path: ByteString): Buffer {
  const file = fs.open(path, O_RDONLY)
  const buffer = Buffer.alloc(file.stat().size)
  for (let done = 0; done < buffer.length;) done += file.read(buffer.subarray(done), done)
  file.close()
  return buffer
}

function identity(fs: SyncFs, path: ByteString): string {
  const { dev, ino } = fs.lstat(path)
  return `${dev}:${ino}`
}

/** Names of unfinished copies. The directory may also hold a whiteout, which stays. */
function staged(fixture: OverlayFixture): string[] {
  const [directory, prefix] = fixture.workspace
  const entries = readdirSync(directory, { withFileTypes: true })
  return entries.filter((entry) => entry.isFile() && entry.name.startsWith(prefix)).map(({ name }) => name)
}
