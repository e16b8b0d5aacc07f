import { closeSync, openSync, writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { tellsTypes } from '#layerstack/sys/dirent-types.js'
import { fileSystemOf } from '#layerstack/sys/file-system.js'
import { syncfs } from '#layerstack/sys/syncfs.js'
import { noCalls, noMounts, notInstalled, unless } from '../support/needs.js'
import { Place, thrownBy } from './place.js'

describe('a file system', unless(noCalls), () => {
  it('can be synced by any descriptor on it', () => {
    using place = new Place()
    const fd = openSync(place.file('a', 'x'), 'r')
    syncfs(fd)
    closeSync(fd)
    expect(thrownBy(() => syncfs(fd)).code).toBe('EBADF')
  })

  it('has the name that Docker gives it', () => {
    expect(fileSystemOf('/proc').name).toBe('proc')
    expect(fileSystemOf('/').free > 0n).toBe(true)
  })

  it('tells types of entries, or does not', () => {
    using place = new Place()
    place.file('a')
    expect(tellsTypes(place.root)).toBe(true)
  })

  it('that does not is found out, though Node hides it', unless(noMounts, notInstalled('mkfs.ext4')), () => {
    using place = new Place()
    const fs = place.fileSystem(['mkfs.ext4', '-q', '-O', '^filetype'], 16)
    writeFileSync(`${fs}/a`, '')
    expect(tellsTypes(fs)).toBe(false)
    expect(fileSystemOf(fs).name).toBe('extfs')
  })
})
