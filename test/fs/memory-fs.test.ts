/** @module-tag unit */
import { constants } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import type { ByteString } from '#layerstack/fs/bytes.js'
import { MemoryFs } from '#layerstack/fs/memory/memory-fs.js'
import { outline } from '../tar/stacks.js'

const { O_APPEND, O_CREAT, O_EXCL, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY } = constants
const bytes = (text: string) => text as ByteString
const code = (wanted: string) => expect.objectContaining({ code: wanted })

function model(): MemoryFs {
  const fs = new MemoryFs()
  fs.mkdir(bytes('d'), 0o755)
  write(fs, 'd/f', 'content')
  fs.symlink(bytes('f'), bytes('d/s'))
  return fs
}

function write(fs: MemoryFs, path: string, text: string, flags = O_WRONLY | O_CREAT): void {
  const file = fs.open(bytes(path), flags, 0o640)
  expect(file.write(Buffer.from(text), 0)).toBe(text.length)
  file.close()
}

function read(fs: MemoryFs, path: string): string {
  const file = fs.open(bytes(path), O_RDONLY)
  const buffer = Buffer.alloc(100)
  const length = file.read(buffer, 0)
  file.close()
  return buffer.toString('latin1', 0, length)
}

describe('MemoryFs', () => {
  it('holds files, directories and symlinks', () => {
    expect(outline(model())).toEqual(['d/', 'd/f content', 'd/s -> f'])
  })

  it('opens files as open(2) does', () => {
    const fs = model()
    write(fs, 'd/f', 'C')
    expect(read(fs, 'd/f')).toBe('Content')
    write(fs, 'd/f', '!', O_WRONLY | O_APPEND)
    expect(read(fs, 'd/f')).toBe('Content!')
    write(fs, 'd/f', 'new', O_RDWR | O_TRUNC)
    expect(read(fs, 'd/f')).toBe('new')
    expect(() => fs.open(bytes('d/f'), O_WRONLY | O_CREAT | O_EXCL)).toThrow(code('EEXIST'))
    expect(() => fs.open(bytes('d'), O_RDONLY)).toThrow(code('EISDIR'))
    expect(() => fs.open(bytes('d/s'), O_RDONLY)).toThrow(code('ELOOP'))
    expect(() => fs.open(bytes('d/f/x'), O_RDONLY)).toThrow(code('ENOTDIR'))
    expect(() => fs.open(bytes('x'), O_RDONLY)).toThrow(code('ENOENT'))
  })

  it('fills holes with zeros, and discards truncated content', () => {
    const fs = model()
    fs.truncate(bytes('d/f'), 3)
    fs.truncate(bytes('d/f'), 5)
    expect(read(fs, 'd/f')).toBe('con\0\0')
    const file = fs.open(bytes('d/f'), O_WRONLY)
    file.write(Buffer.from('x'), 7)
    expect(read(fs, 'd/f')).toBe('con\0\0\0\0x')
  })

  it('counts links of files and directories', () => {
    const fs = model()
    fs.link(bytes('d/f'), bytes('l'))
    expect(fs.lstat(bytes('l'))).toMatchObject({ nlink: 2, ino: fs.lstat(bytes('d/f')).ino })
    fs.unlink(bytes('d/f'))
    expect(fs.lstat(bytes('l')).nlink).toBe(1)
    fs.mkdir(bytes('d/e'), 0o700)
    expect(fs.lstat(bytes('d')).nlink).toBe(3)
    fs.rmdir(bytes('d/e'))
    expect(fs.lstat(bytes('d')).nlink).toBe(2)
    expect(() => fs.link(bytes('d'), bytes('x'))).toThrow(code('EPERM'))
  })

  it('renames as rename(2) does', () => {
    const fs = model()
    fs.mkdir(bytes('e'), 0o755)
    fs.rename(bytes('d/f'), bytes('e/g'))
    fs.rename(bytes('e'), bytes('h'))
    expect(read(fs, 'h/g')).toBe('content')
    expect(() => fs.rename(bytes('d'), bytes('d/x'))).toThrow(code('EINVAL'))
    expect(() => fs.rename(bytes('d'), bytes('h'))).toThrow(code('ENOTEMPTY'))
    expect(() => fs.rename(bytes('d'), bytes('h/g'))).toThrow(code('ENOTDIR'))
    expect(() => fs.rename(bytes('h/g'), bytes('d'))).toThrow(code('EISDIR'))
    expect(() => fs.rmdir(bytes('d'))).toThrow(code('ENOTEMPTY'))
    expect(outline(fs)).toEqual(['d/', 'd/s -> f', 'h/', 'h/g content'])
  })

  it('moves a directory with all paths below it', () => {
    const fs = model()
    read(fs, 'd/f')
    fs.rename(bytes('d'), bytes('e'))
    expect(() => read(fs, 'd/f')).toThrow(code('ENOENT'))
    expect(read(fs, 'e/f')).toBe('content')
  })

  it('keeps attributes, and defaults to owner 0 and time 0', () => {
    const fs = model()
    expect(fs.lstat(bytes('d/f'))).toMatchObject({ mode: 0o640, uid: 0, gid: 0, mtimeNs: 0n, size: 7 })
    fs.chmod(bytes('d/f'), 0o4755)
    fs.chown(bytes('d/f'), 1, 2)
    fs.utimes(bytes('d/f'), -1n, 5n)
    fs.utimes(bytes('d/f'), undefined, 6n)
    const kept = { mode: 0o4755, uid: 1, gid: 2, atimeNs: -1n, mtimeNs: 6n }
    expect(fs.lstat(bytes('d/f'))).toMatchObject(kept)
    expect(() => fs.chmod(bytes('d/s'), 0o777)).toThrow(code('EOPNOTSUPP'))
  })

  it('keeps xattrs as setxattr(2) does', () => {
    const fs = model()
    const [path, name] = [bytes('d/s'), bytes('trusted.x')]
    expect(fs.getxattr(path, name)).toBeUndefined()
    expect(() => fs.setxattr(path, name, Buffer.from('a'), 'replace')).toThrow(code('ENODATA'))
    fs.setxattr(path, name, Buffer.from('\0a'), 'create')
    expect(() => fs.setxattr(path, name, Buffer.from('a'), 'create')).toThrow(code('EEXIST'))
    expect(fs.listxattr(path)).toEqual([name])
    expect(fs.getxattr(path, name)?.toString()).toBe('\0a')
    fs.removexattr(path, name)
    expect(() => fs.removexattr(path, name)).toThrow(code('ENODATA'))
  })

  it('refers to content of another filesystem, and copies it before a write', () => {
    const [source, fs] = [model(), new MemoryFs()]
    const reference = { fs: source, path: bytes('d/f'), size: 7 }
    fs.createReference(bytes('r'), reference, 0o600)
    fs.link(bytes('r'), bytes('r2'))
    expect(fs.lstat(bytes('r2')).size).toBe(7)
    expect(read(fs, 'r2')).toBe('content')
    expect(fs.referenceOf(bytes('r2'))).toBe(reference)
    write(fs, 'r', 'C')
    expect([read(fs, 'r2'), read(source, 'd/f')]).toEqual(['Content', 'content'])
    expect(fs.referenceOf(bytes('r'))).toBeUndefined()
  })

  it.each([
    ['is missing', 'd/gone', 7],
    ['is too short', 'd/f', 8],
  ])('reports a reference as corrupt if its content %s', (_state, path, size) => {
    const [source, fs] = [model(), new MemoryFs()]
    fs.createReference(bytes('r'), { fs: source, path: bytes(path), size }, 0o600)
    const corrupt = expect.objectContaining({ code: 'STORE_CORRUPT', path, hint: expect.any(String) })
    expect(() => {
      const file = fs.open(bytes('r'), O_RDONLY)
      for (let at = 0; at < size;) at += file.read(Buffer.alloc(size), at)
    }).toThrow(corrupt)
    expect(() => write(fs, 'r', 'C')).toThrow(corrupt)
  })

  it('holds 100,000 referenced files in less than 60 MB', () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    collect()
    const before = process.memoryUsage().heapUsed
    const [source, fs] = [model(), new MemoryFs()]
    for (let index = 0; index < 100_000; index++) {
      const top = `directory-${Math.floor(index / 100)}`
      if (index % 100 === 0) fs.mkdir(bytes(top), 0o755)
      const path = bytes(`${top}/a-file-with-some-name-${index}`)
      fs.createReference(path, { fs: source, path, size: index }, 0o644)
      fs.utimes(path, BigInt(index), BigInt(index))
    }
    collect()
    const used = process.memoryUsage().heapUsed - before
    expect(fs.readdir(bytes(''))).toHaveLength(1000)
    expect(used).toBeLessThan(60e6)
  })
})
