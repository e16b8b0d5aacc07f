/**
 * @module-tag device-mapper
 * @module-tag every-identity
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { mountOverlay, mountOverlayByOptions, takesLayersOneByOne } from '#layerstack/sys/mount-overlay.js'
import { unmountIfMounted } from '#layerstack/sys/mount.js'
import { noMounts, unless, type Reason } from '../support/needs.js'
import { Scratch, thrownBy } from './scratch.js'

const OFF = ['redirect_dir=off', 'index=off', 'metacopy=off']

for (const [how, mountBy] of [
  ['layer by layer', mountOverlay],
  ['by options, as before Linux 6.7', mountOverlayByOptions],
] as const) {
  describe(`overlay mounted ${how}`, unless(noMounts), () => {
    it('merges the upper over the lowers, the first lower on top, and writes to the upper', () => {
      using scratch = new Scratch()
      const { target, ...overlay } = overlayIn(scratch, '', 3)
      for (const [index, lower] of overlay.lowers.entries())
        writeFileSync(join(lower, 'all'), `lower ${index}`)
      mountBy(target, { ...overlay, options: OFF })
      expect(readdirSync(target).toSorted()).toEqual(['all', 'file-0', 'file-1', 'file-2'])
      expect(readFileSync(join(target, 'all'), 'utf8')).toBe('lower 0')
      writeFileSync(join(target, 'new'), 'x')
      rmSync(join(target, 'file-1'))
      expect(readdirSync(overlay.upper).toSorted()).toEqual(['file-1', 'new'])
      expect(mountLine(target)).toContain(' overlay overlay rw')
      expect([unmountIfMounted(target), unmountIfMounted(target)]).toEqual([true, false])
      expect(readdirSync(target)).toEqual([])
    })

    it('is read-only without an upper', () => {
      using scratch = new Scratch()
      const { target, lowers } = overlayIn(scratch, '', 2)
      mountBy(target, { lowers })
      expect(thrownBy(() => writeFileSync(join(target, 'new'), '')).code).toBe('EROFS')
      expect(readdirSync(target)).toHaveLength(2)
    })

    it('accepts long paths and paths with separators of mount options', () => {
      for (const name of [
        'a:b',
        'a,b',
        'a\\b',
        'a\\:b',
        'a b',
        'é=',
        `${'x'.repeat(150)}/${'y'.repeat(150)}`,
      ]) {
        using scratch = new Scratch()
        // Wrong parsing of the name would find these directories.
        for (const decoy of ['ab', 'a']) mkdirSync(scratch.path(decoy, 'lower-0'), { recursive: true })
        const { target, ...overlay } = overlayIn(scratch, name, 2)
        mountBy(target, overlay)
        expect(readdirSync(target).toSorted(), name).toEqual(['file-0', 'file-1'])
        writeFileSync(join(target, 'new'), '')
        expect(existsSync(join(overlay.upper, 'new')), name).toBe(true)
      }
    })

    it('fails with ENOENT for a missing upper, and leaves nothing mounted', () => {
      using scratch = new Scratch()
      const { target, ...overlay } = overlayIn(scratch, '', 2)
      const error = thrownBy(() => mountBy(target, { ...overlay, upper: scratch.path('nowhere') }))
      expect(error.code).toBe('ENOENT')
      expect(readdirSync(target)).toEqual([])
    })
  })
}

function noManyLayers(): Reason {
  if (noMounts !== undefined) return noMounts
  return takesLayersOneByOne('/') ? undefined : 'the kernel has no lowerdir+ (Linux 6.7)'
}

describe('overlay of many layers', unless(noMounts), () => {
  it('accepts 500, and reports the limit of the kernel for 501', unless(noManyLayers()), () => {
    using scratch = new Scratch()
    const { target, lowers, ...overlay } = overlayIn(scratch, 'long'.repeat(20), 501)
    mountOverlay(target, { lowers: lowers.slice(1), ...overlay })
    expect(readdirSync(target)).toHaveLength(500)
    unmountIfMounted(target)
    const error = thrownBy(() => mountOverlay(target, { lowers, ...overlay }))
    expect(error).toMatchObject({ code: 'EINVAL', errno: -22 })
    expect(error.message).toContain('limit is 500')
  })

  it('accepts 200 by options through descriptors, and fails with E2BIG for 500', () => {
    using scratch = new Scratch()
    const { target, lowers, ...overlay } = overlayIn(scratch, 'long'.repeat(20), 500)
    mountOverlayByOptions(target, { lowers: lowers.slice(0, 200), ...overlay, options: OFF })
    expect(readdirSync(target)).toHaveLength(200)
    unmountIfMounted(target)
    const open = () => readdirSync('/proc/self/fd').length
    const before = open()
    const error = thrownBy(() => mountOverlayByOptions(target, { lowers, ...overlay }))
    expect(error).toMatchObject({ code: 'E2BIG', syscall: 'mount', path: target })
    expect(open()).toBe(before)
  })
})

describe('unmountIfMounted()', unless(noMounts), () => {
  it('does not follow a symlink to a mount', () => {
    using scratch = new Scratch()
    const { target, ...overlay } = overlayIn(scratch, '', 1)
    mountOverlay(target, overlay)
    symlinkSync(target, scratch.path('link'))
    expect(unmountIfMounted(scratch.path('link'))).toBe(false)
    expect(readdirSync(target)).toEqual(['file-0'])
  })

  it('returns false for a missing path', () => {
    expect(unmountIfMounted('/nowhere/at/all')).toBe(false)
  })
})

/** Creates the directories of an overlay below `name`. Each lower has a file with its number. */
function overlayIn(scratch: Scratch, name: string, count: number) {
  const make = (part: string) => {
    mkdirSync(scratch.path(name, part), { recursive: true })
    return scratch.path(name, part)
  }
  const lowers = Array.from({ length: count }, (_, index) => make(`lower-${index}`))
  for (const [index, lower] of lowers.entries()) writeFileSync(join(lower, `file-${index}`), '')
  return { lowers, upper: make('upper'), work: make('work'), target: scratch.willMount(make('merged')) }
}

function mountLine(target: string): string | undefined {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .find((line) => line.includes(` ${target} `))
}
