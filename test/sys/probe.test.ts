/** @module-tag every-identity */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { probe, type Probe } from '#layerstack/sys/probe.js'
import { temporaryName } from '#layerstack/sys/temporary-name.js'
import { nameOfDead } from '../support/dead-name.js'
import { noCalls, noMounts, notInstalled, unless } from '../support/needs.js'
import { canCall, canGiveAway, canMakeDevices, canMount, Scratch } from './scratch.js'

describe('probe()', () => {
  it('reports the abilities of this process, with a reason for each that is missing', () => {
    using scratch = new Scratch()
    const found = probe(scratch.root)
    expect(found.libc.works).toBe(canCall)
    expect(found.chown.works).toBe(canGiveAway)
    expect(found.deviceNodes.works).toBe(canMakeDevices)
    expect(found.overlay.works).toBe(canMount)
    expect(found.trustedXattrs.works).toBe(canMount)
    for (const [name, answer] of answers(found)) expect(answer.works, name).toBe(answer.reason === undefined)
  })

  it('reports the abilities that every process has', unless(noCalls), () => {
    using scratch = new Scratch()
    const { whiteouts, userXattrs, openat2, dType } = probe(scratch.root)
    expect([whiteouts, userXattrs, openat2, dType].map(({ works }) => works)).toEqual([
      true,
      true,
      true,
      true,
    ])
  })

  it('leaves no files and removes those of a probe that was killed', () => {
    using scratch = new Scratch()
    const alive = temporaryName('probe')
    for (const name of [nameOfDead('probe'), alive, 'other']) {
      mkdirSync(scratch.path(name))
      writeFileSync(scratch.path(name, 'file'), '')
    }
    probe(scratch.root)
    expect(readdirSync(scratch.root).toSorted()).toEqual([alive, 'other'])
  })

  it('works without koffi', () => {
    using scratch = new Scratch()
    const found = probeIn(scratch.root, { LAYERSTACK_NO_KOFFI: '1' })
    for (const name of ['libc', 'whiteouts', 'overlay', 'userXattrs', 'dType'] as const) {
      expect(found[name]).toEqual({ works: false, reason: 'LAYERSTACK_NO_KOFFI is set' })
    }
    expect(found.chown.works).toBe(canGiveAway)
  })

  it(
    'reports a filesystem without entry types as unusable for overlays',
    unless(noMounts, notInstalled('mkfs.ext4')),
    () => {
      using scratch = new Scratch()
      const fs = scratch.fileSystem(['mkfs.ext4', '-q', '-O', '^filetype'], 16)
      const { dType, overlay, manyLowers } = probe(fs)
      expect(dType.works).toBe(false)
      expect(overlay).toEqual(dType)
      expect(manyLowers).toEqual(dType)
      expect(dType.reason).toContain('have no type')
    },
  )

  it('reports reflinks and overlays on XFS', unless(noMounts, notInstalled('mkfs.xfs')), () => {
    using scratch = new Scratch()
    const found = probe(scratch.fileSystem(['mkfs.xfs', '-q', '-m', 'reflink=1'], 320))
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
