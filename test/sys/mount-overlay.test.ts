import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { mountOverlay, mountOverlayByOptions, takesLayersOneByOne } from '#layerstack/sys/mount-overlay.js'
import { unmountIfMounted } from '#layerstack/sys/mount.js'
import { noMounts, unless, type Reason } from '../support/needs.js'
import { Place, thrownBy } from './place.js'

const OFF = ['redirect_dir=off', 'index=off', 'metacopy=off']

for (const [how, mountBy] of [
  ['layer by layer', mountOverlay],
  ['by options, as before Linux 6.7', mountOverlayByOptions],
] as const) {
  describe(`an overlay mounted ${how}`, unless(noMounts), () => {
    it('shows the upper over the lowers, the first lower uppermost, and takes writes', () => {
      using place = new Place()
      const { target, ...overlay } = overlayIn(place, '', 3)
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

    it('without an upper is read-only', () => {
      using place = new Place()
      const { target, lowers } = overlayIn(place, '', 2)
      mountBy(target, { lowers })
      expect(thrownBy(() => writeFileSync(join(target, 'new'), '')).code).toBe('EROFS')
      expect(readdirSync(target)).toHaveLength(2)
    })

    it('takes paths with all that parts options, and long ones', () => {
      for (const name of [
        'a:b',
        'a,b',
        'a\\b',
        'a\\:b',
        'a b',
        'é=',
        `${'x'.repeat(150)}/${'y'.repeat(150)}`,
      ]) {
        using place = new Place()
        // What a wrong reading of the name would find instead.
        for (const decoy of ['ab', 'a']) mkdirSync(place.path(decoy, 'lower-0'), { recursive: true })
        const { target, ...overlay } = overlayIn(place, name, 2)
        mountBy(target, overlay)
        expect(readdirSync(target).toSorted(), name).toEqual(['file-0', 'file-1'])
        writeFileSync(join(target, 'new'), '')
        expect(existsSync(join(overlay.upper, 'new')), name).toBe(true)
      }
    })

    it('says which directory is missing', () => {
      using place = new Place()
      const { target, ...overlay } = overlayIn(place, '', 2)
      const error = thrownBy(() => mountBy(target, { ...overlay, upper: place.path('nowhere') }))
      expect(error.code).toBe('ENOENT')
      expect(readdirSync(target)).toEqual([])
    })
  })
}

function noManyLayers(): Reason {
  if (noMounts !== undefined) return noMounts
  return takesLayersOneByOne('/') ? undefined : 'the kernel does not know lowerdir+ (Linux 6.7)'
}

describe('an overlay of many layers', unless(noMounts), () => {
  it('takes 500, and the kernel says why not 501', unless(noManyLayers()), () => {
    using place = new Place()
    const { target, lowers, ...overlay } = overlayIn(place, 'long'.repeat(20), 501)
    mountOverlay(target, { lowers: lowers.slice(1), ...overlay })
    expect(readdirSync(target)).toHaveLength(500)
    unmountIfMounted(target)
    const error = thrownBy(() => mountOverlay(target, { lowers, ...overlay }))
    expect(error).toMatchObject({ code: 'EINVAL', errno: -22 })
    expect(error.message).toContain('limit is 500')
  })

  it('takes 200 by options, through descriptors, and says that 500 do not fit', () => {
    using place = new Place()
    const { target, lowers, ...overlay } = overlayIn(place, 'long'.repeat(20), 500)
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

describe('unmounting', unless(noMounts), () => {
  it('does not follow a symlink to some other mount', () => {
    using place = new Place()
    const { target, ...overlay } = overlayIn(place, '', 1)
    mountOverlay(target, overlay)
    symlinkSync(target, place.path('link'))
    expect(unmountIfMounted(place.path('link'))).toBe(false)
    expect(readdirSync(target)).toEqual(['file-0'])
  })

  it('of what is not there is no error', () => {
    expect(unmountIfMounted('/nowhere/at/all')).toBe(false)
  })
})

/** Directories for an overlay below `name`; each lower has a file of its own. */
function overlayIn(place: Place, name: string, count: number) {
  const make = (part: string) => {
    mkdirSync(place.path(name, part), { recursive: true })
    return place.path(name, part)
  }
  const lowers = Array.from({ length: count }, (_, index) => make(`lower-${index}`))
  for (const [index, lower] of lowers.entries()) writeFileSync(join(lower, `file-${index}`), '')
  return { lowers, upper: make('upper'), work: make('work'), target: place.willMount(make('merged')) }
}

function mountLine(target: string): string | undefined {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .find((line) => line.includes(` ${target} `))
}
