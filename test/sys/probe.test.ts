import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { probe, type Probe } from '#layerstack/sys/probe.js'
import { temporaryName } from '#layerstack/sys/temporary-name.js'
import { nameOfDead } from '../support/dead-name.js'
import { noCalls, noMounts, notInstalled, unless } from '../support/needs.js'
import { canCall, canGiveAway, canMakeDevices, canMount, Place } from './place.js'

describe('a probe', () => {
  it('finds what this process may do, and has a reason for each thing that it may not', () => {
    using place = new Place()
    const found = probe(place.root)
    expect(found.libc.works).toBe(canCall)
    expect(found.chown.works).toBe(canGiveAway)
    expect(found.deviceNodes.works).toBe(canMakeDevices)
    expect(found.overlay.works).toBe(canMount)
    expect(found.trustedXattrs.works).toBe(canMount)
    for (const [name, answer] of answers(found)) expect(answer.works, name).toBe(answer.reason === undefined)
  })

  it('finds what anybody may do', unless(noCalls), () => {
    using place = new Place()
    const { whiteouts, userXattrs, openat2, dType } = probe(place.root)
    expect([whiteouts, userXattrs, openat2, dType].map(({ works }) => works)).toEqual([
      true,
      true,
      true,
      true,
    ])
  })

  it('leaves nothing behind, and removes what a dead one left', () => {
    using place = new Place()
    const alive = temporaryName('probe')
    for (const name of [nameOfDead('probe'), alive, 'other']) {
      mkdirSync(place.path(name))
      writeFileSync(place.path(name, 'file'), '')
    }
    probe(place.root)
    expect(readdirSync(place.root).toSorted()).toEqual([alive, 'other'])
  })

  it('goes on without koffi', () => {
    using place = new Place()
    const found = probeIn(place.root, { LAYERSTACK_NO_KOFFI: '1' })
    for (const name of ['libc', 'whiteouts', 'overlay', 'userXattrs', 'dType'] as const) {
      expect(found[name]).toEqual({ works: false, reason: 'LAYERSTACK_NO_KOFFI is set' })
    }
    expect(found.chown.works).toBe(canGiveAway)
  })

  it('sees that a file system is not fit for overlays', unless(noMounts, notInstalled('mkfs.ext4')), () => {
    using place = new Place()
    const fs = place.fileSystem(['mkfs.ext4', '-q', '-O', '^filetype'], 16)
    const { dType, overlay, manyLowers } = probe(fs)
    expect(dType.works).toBe(false)
    expect(overlay).toEqual(dType)
    expect(manyLowers).toEqual(dType)
    expect(dType.reason).toContain('have no type')
  })

  it('sees that a file system shares blocks', unless(noMounts, notInstalled('mkfs.xfs')), () => {
    using place = new Place()
    const found = probe(place.fileSystem(['mkfs.xfs', '-q', '-m', 'reflink=1'], 320))
    expect(found).toMatchObject({
      reflink: { works: true },
      overlay: { works: true },
      backingFileSystem: 'xfs',
    })
  })
})

function answers(found: Probe) {
  const { backingFileSystem, times, ...rest } = found
  expect(backingFileSystem).not.toBe('')
  expect(times.unitNs).toBeGreaterThan(0)
  return Object.entries(rest)
}

function probeIn(directory: string, environment: Record<string, string>): Probe {
  const script = `
    const { probe } = await import('#layerstack/sys/probe.js')
    console.log(JSON.stringify(probe(process.argv[1])))`
  const args = ['--input-type=module', '--eval', script, directory]
  const env = { ...process.env, ...environment }
  return JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8', env })) as Probe
}
