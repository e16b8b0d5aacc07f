/** @module-tag unit */
import { lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { LayerApplier } from '#layerstack/tar/apply.js'
import {
  bytes,
  directory,
  feed,
  file,
  hostAttributes,
  invalid,
  link,
  opaque,
  partsOf,
  removeScratch,
  scratch,
  symlink,
  whiteout,
} from './stacks.js'

afterAll(removeScratch)

describe('a hostile layer', () => {
  it.each([
    ['a symlink that is written through', [symlink('out', '/OUT'), file('out/pwned', 'x')]],
    ['a symlink chain', [symlink('a', '..'), symlink('b', 'a/../..'), file('b/OUT/pwned', 'x')]],
    ['a file over a symlink', [symlink('out', '/OUT/victim'), file('out', 'x')]],
    ['a link to a symlink that is written to', [symlink('s', '/OUT/victim'), link('l', 's'), file('l', 'x')]],
    ['a directory over a symlink', [symlink('d', '/OUT'), directory('d', { mode: 0o777 }), file('d/pwned')]],
    ['a symlink swapped in by a duplicate', [file('d/a'), symlink('d', '/OUT'), file('d/pwned', 'x')]],
    ['a whiteout through a symlink', [symlink('d', '/OUT'), whiteout('d/victim')]],
    ['an opaque marker through a symlink', [symlink('d', '/OUT'), opaque('d')]],
    ['a link through a symlink', [symlink('d', '/OUT'), link('stolen', 'd/victim')]],
    ['".." after a symlink', [symlink('d', '/OUT/sub'), file('d/../pwned', 'x')]],
  ])('changes nothing outside the root: %s', (_, entries) => {
    const top = scratch()
    mkdirSync(join(top, 'OUT/sub'), { recursive: true })
    writeFileSync(join(top, 'OUT/victim'), 'safe')
    const before = lstatSync(join(top, 'OUT')).mtimeMs
    const at = (name: string) => name.replace('/OUT', join(top, 'OUT'))
    for (const form of ['merged', 'overlay'] as const) {
      mkdirSync(join(top, form))
      const applier = new LayerApplier({
        files: { kind: 'host', root: join(top, form), ...hostAttributes },
        form,
        lowers: [],
      })
      const moved = entries.map((one) => ({
        ...one,
        header: { ...one.header, linkName: bytes(at(one.header.linkName)) },
      }))
      try {
        feed(applier, partsOf(moved))
      } catch (error) {
        expect(error).toEqual(invalid)
      }
    }
    expect(readFileSync(join(top, 'OUT/victim'), 'utf8')).toBe('safe')
    expect(readdirSync(join(top, 'OUT'))).toEqual(['sub', 'victim'])
    expect(lstatSync(join(top, 'OUT')).mtimeMs).toBe(before)
    expect(readdirSync(top).toSorted()).toEqual(['OUT', 'merged', 'overlay'])
  })

  it('is refused if a name is too long', () => {
    const layers = { kind: 'host', root: scratch(), ...hostAttributes } as const
    const applier = new LayerApplier({ files: layers, form: 'merged', lowers: [] })
    expect(() => feed(applier, partsOf([file('x'.repeat(300))]))).toThrow(invalid)
  })
})
