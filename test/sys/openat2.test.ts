import { closeSync, constants, openSync, readFileSync, symlinkSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import {
  O_PATH,
  openat2,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
} from '#layerstack/sys/openat2.js'
import { noCalls, unless } from '../support/needs.js'
import { Place, runScript, thrownBy } from './place.js'

describe('openat2', unless(noCalls), () => {
  it('does not leave the root, by whatever path', () => {
    using place = new Place()
    place.file('secret', 'outside')
    place.directory('root/etc')
    place.file('root/secret', 'inside')
    symlinkSync('/secret', place.path('root/absolute'))
    symlinkSync('../../../secret', place.path('root/etc/climbing'))
    for (const path of ['secret', '/secret', '../secret', 'etc/../../secret', 'absolute', 'etc/climbing']) {
      expect(read(place.path('root'), path, RESOLVE_IN_ROOT), path).toBe('inside')
    }
  })

  it('refuses symlinks where it is told to, and a way out through /proc', () => {
    using place = new Place()
    place.file('a', 'a')
    symlinkSync('a', place.path('link'))
    expect(read(place.root, 'a', RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS)).toBe('a')
    expect(thrownBy(() => read(place.root, 'link', RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS))).toMatchObject({
      code: 'ELOOP',
      syscall: 'openat2',
      path: 'link',
    })
    expect(thrownBy(() => read('/', 'proc/self/exe', RESOLVE_NO_MAGICLINKS)).code).toBe('ELOOP')
  })

  it('stays inside while somebody renames directories under it', () => {
    using place = new Place()
    place.file('secret', 'outside')
    for (const name of ['root/a/b/c', 'root/x']) place.directory(name)
    place.file('root/secret', 'inside')
    const mover = `
      const { renameSync } = require('node:fs')
      const end = Date.now() + 700
      while (Date.now() < end) { renameSync('root/a/b', 'root/x/b'); renameSync('root/x/b', 'root/a/b') }`
    const child = runScript(mover, place.root)
    const seen = new Set<string>()
    for (let tries = 0; tries < 20_000; tries++) {
      try {
        seen.add(read(place.path('root'), 'a/b/c/../../../../../secret', RESOLVE_IN_ROOT))
      } catch (error) {
        seen.add((error as NodeJS.ErrnoException).code ?? 'no code')
      }
    }
    child.kill()
    expect(seen).toContain('inside')
    expect([...seen].filter((what) => what !== 'inside' && what !== 'ENOENT')).toEqual([])
  })
})

function read(root: string, path: string, resolve: number): string {
  const directory = openSync(root, O_PATH | constants.O_DIRECTORY)
  try {
    const fd = openat2(directory, path, constants.O_RDONLY, resolve)
    const content = readFileSync(fd, 'utf8')
    closeSync(fd)
    return content
  } finally {
    closeSync(directory)
  }
}
