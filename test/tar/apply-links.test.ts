/** @module-tag unit */
import { afterAll, describe, expect, it } from 'vitest'
import {
  describeTree,
  directory,
  entry,
  file,
  FORMS,
  invalid,
  link,
  opaque,
  outline,
  removeScratch,
  symlink,
  THEN,
  whiteout,
} from './stacks.js'

afterAll(removeScratch)

describe.each(FORMS)('hard links ($form)', ({ stack }) => {
  it('share the inode of a file, a symlink or a fifo', () => {
    const layers = stack()
    layers.apply([
      ...[file('a', 'x'), link('b', '/a'), symlink('s', 'nowhere'), link('t', './s')],
      ...[entry('f', 'fifo'), link('g', 'f')],
    ])
    expect(describeTree(layers.view).map((line) => line.replace(/ \d+:\d+ \d+/, ''))).toEqual([
      ...['a file 644 x', 'b file 644 = a', 'f fifo 644 ', 'g fifo 644 = f'],
      ...['s symlink -> nowhere', 't symlink = s'],
    ])
  })

  it('share the inode and attributes of lower files', () => {
    const layers = stack()
    layers.apply([
      directory('d', { mode: 0o750 }),
      file('d/a', 'content', { mode: 0o4711, uid: 5, xattrs: { 'user.k': 'v' } }),
      symlink('d/s', 'a', { uid: 6 }),
    ])
    layers.apply([link('b', 'd/a'), link('t', 'd/s')])
    expect(describeTree(layers.view)).toEqual([
      `b file 4711 5:0 ${THEN} user.k=v content`,
      `d directory 750 0:0 ${THEN} `,
      'd/a file 4711 5:0 = b'.replace(' =', ` ${THEN} user.k=v =`),
      `d/s symlink 6:0 ${THEN} -> a`,
      `t symlink 6:0 ${THEN} = d/s`,
    ])
  })

  it('to files hidden by this layer or an intermediate one are refused', () => {
    const hidden = (...between: Parameters<ReturnType<typeof stack>['apply']>[0][]) => {
      const layers = stack()
      layers.apply([directory('d'), file('d/a', 'x'), file('e', 'y')])
      for (const entries of between) layers.apply(entries)
    }
    expect(() => hidden([whiteout('e'), link('b', 'e')])).toThrow(invalid)
    expect(() => hidden([whiteout('e')], [link('b', 'e')])).toThrow(invalid)
    expect(() => hidden([directory('d'), opaque('d')], [link('b', 'd/a')])).toThrow(invalid)
    expect(() => hidden([opaque('d'), link('b', 'd/a')])).toThrow(invalid)
  })

  it.each([
    ['to a path outside the root', '../a'],
    ['to a missing file', 'missing'],
    ['into a missing directory', 'missing/a'],
    ['to a directory', 'd'],
    ['to an empty name', ''],
  ])('%s are refused', (_, target) => {
    expect(() => stack().apply([directory('d'), link('b', target)])).toThrow(invalid)
  })

  it('to themselves, as GNU tar writes a file named twice, keep the file', () => {
    const layers = stack()
    layers.apply([file('a', 'x'), link('a', 'a')])
    layers.apply([link('a', './a')])
    expect(outline(layers.view)).toEqual(['a x'])
    expect(() => stack().apply([link('a', 'a')])).toThrow(invalid)
  })

  it('that would replace the directory of their target are refused', () => {
    expect(() => stack().apply([file('d/a'), link('d', 'd/a')])).toThrow(invalid)
  })

  it('to a symlink are replaced by a later file, and the symlink is not followed', () => {
    const layers = stack()
    layers.apply([file('victim', 'safe'), symlink('s', 'victim'), link('t', 's'), file('t', 'attack')])
    expect(outline(layers.view)).toEqual(['s -> victim', 't attack', 'victim safe'])
  })
})
