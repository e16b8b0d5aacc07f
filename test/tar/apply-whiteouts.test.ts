/** @module-tag unit */
import { afterAll, describe, expect, it } from 'vitest'
import {
  bytes,
  describeTree,
  directory,
  entry,
  file,
  FORMS,
  opaque,
  outline,
  removeScratch,
  THEN,
  whiteout,
} from './stacks.js'

afterAll(removeScratch)

describe.each(FORMS)('whiteouts ($form)', ({ stack }) => {
  it('hide objects of lower layers with everything below them', () => {
    const layers = stack()
    layers.apply([directory('d'), file('d/a'), file('d/b'), directory('e'), file('e/c')])
    layers.apply([whiteout('d/a'), whiteout('e')])
    expect(outline(layers.view)).toEqual(['d/', 'd/b '])
  })

  it('never hide an entry of the same layer, before or after them', () => {
    const layers = stack()
    layers.apply([
      file('a', 'old'),
      file('b', 'old'),
      directory('d'),
      file('d/old'),
      directory('e'),
      file('e/old'),
    ])
    layers.apply([
      ...[file('a', 'new'), whiteout('a'), whiteout('b'), file('b', 'new')],
      ...[directory('d'), file('d/new'), whiteout('d'), whiteout('e'), directory('e'), file('e/new')],
    ])
    expect(outline(layers.view)).toEqual(['a new', 'b new', 'd/', 'd/new ', 'e/', 'e/new '])
  })

  it('of an implied directory hide the lower directory and its attributes', () => {
    const layers = stack()
    layers.apply([directory('d', { mode: 0o700, uid: 5, gid: 6 }), file('d/old')])
    layers.apply([file('d/new'), whiteout('d')])
    expect(outline(layers.view)).toEqual(['d/', 'd/new '])
    expect(layers.view.lstat(bytes('d'))).toMatchObject({ mode: 0o755, uid: 0, gid: 0 })
  })

  it('of missing paths have no effect', () => {
    const layers = stack()
    layers.apply([file('a'), directory('d')])
    const before = describeTree(layers.view)
    layers.apply([whiteout('missing'), whiteout('d/missing'), whiteout('missing/below'), whiteout('a/below')])
    expect(describeTree(layers.view)).toEqual(before)
  })

  it('keep the modification time of their directory', () => {
    const layers = stack()
    layers.apply([directory('d'), file('d/a')])
    layers.apply([whiteout('d/a')])
    expect(layers.view.lstat(bytes('d')).mtimeNs).toBe(THEN)
  })

  it('of an earlier layer end when a later layer adds an entry, and hidden children stay hidden', () => {
    const layers = stack()
    layers.apply([directory('d'), file('d/a', 'lowest')])
    layers.apply([whiteout('d')])
    layers.apply([file('d/b', 'top')])
    expect(outline(layers.view)).toEqual(['d/', 'd/b top'])
  })

  it('mix with duplicate entries, of which the last one wins', () => {
    const layers = stack()
    layers.apply([directory('d'), file('d/old')])
    layers.apply([
      ...[directory('d'), whiteout('d'), file('d', 'x'), directory('d'), file('d', 'y'), directory('d')],
      file('d/new'),
    ])
    expect(outline(layers.view)).toEqual(['d/', 'd/new '])
  })

  it('in the form of a device 0:0 are ignored, and lower files stay visible', () => {
    const layers = stack()
    layers.apply([file('a', 'kept')])
    layers.apply([entry('a', 'char'), entry('b', 'char')])
    expect(outline(layers.view)).toEqual(['a kept'])
  })
})

describe.each(FORMS)('opaque markers ($form)', ({ stack }) => {
  it.each(['first', 'last'])('hide all lower children and none of this layer, as the %s entry', (where) => {
    const layers = stack()
    layers.apply([directory('d'), file('d/old'), directory('d/sub'), file('d/sub/old')])
    const rest = [directory('d'), file('d/new'), directory('d/sub'), file('d/sub/new')]
    layers.apply(where === 'first' ? [opaque('d'), ...rest] : [...rest, opaque('d')])
    expect(outline(layers.view)).toEqual(['d/', 'd/new ', 'd/sub/', 'd/sub/new '])
  })

  it('keep the attributes of a directory without an entry', () => {
    const layers = stack()
    layers.apply([directory('d', { mode: 0o710, uid: 3 }), file('d/old')])
    layers.apply([opaque('d')])
    expect(outline(layers.view)).toEqual(['d/'])
    expect(layers.view.lstat(bytes('d'))).toMatchObject({ mode: 0o710, uid: 3, mtimeNs: THEN })
  })

  it('in the root hide all lower layers', () => {
    const layers = stack()
    layers.apply([file('a'), directory('d'), file('d/old'), directory('e'), file('e/old')])
    layers.apply([directory('d'), file('d/new'), opaque(''), directory('e'), file('f')])
    expect(outline(layers.view)).toEqual(['d/', 'd/new ', 'e/', 'f '])
  })

  it('still apply after their directory was replaced twice', () => {
    const layers = stack()
    layers.apply([directory('d'), file('d/old')])
    layers.apply([directory('d'), opaque('d'), file('d', 'x'), directory('d'), file('d/new')])
    expect(outline(layers.view)).toEqual(['d/', 'd/new '])
  })

  it('create a missing directory', () => {
    const layers = stack()
    layers.apply([opaque('d')])
    expect(outline(layers.view)).toEqual(['d/'])
  })
})
