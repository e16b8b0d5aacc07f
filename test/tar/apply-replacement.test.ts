/** @module-tag unit */
import { afterAll, describe, expect, it } from 'vitest'
import { HostFs } from '#layerstack/fs/host/host-fs.js'
import { LayerApplier } from '#layerstack/tar/apply.js'
import {
  bytes,
  contentAt,
  describeTree,
  directory,
  feed,
  file,
  FORMS,
  hostAttributes,
  link,
  outline,
  partsOf,
  removeScratch,
  scratch,
  symlink,
  THEN,
  whiteout,
} from './stacks.js'

afterAll(removeScratch)

describe.each(FORMS)('an entry at an existing path ($form)', ({ stack }) => {
  it('replaces an object of any type', () => {
    const layers = stack()
    layers.apply([file('a', 'old'), directory('b'), file('b/x'), symlink('c', 'a'), file('d')])
    layers.apply([directory('a'), file('b', 'new'), file('c', 'new'), symlink('d', 'b')])
    expect(outline(layers.view)).toEqual(['a/', 'b new', 'c new', 'd -> b'])
  })

  it('merges a directory with a directory, and sets only its own attributes', () => {
    const layers = stack()
    layers.apply([directory('d', { mode: 0o700, uid: 1, xattrs: { 'user.old': '1' } }), file('d/old')])
    layers.apply([directory('d', { mode: 0o1777, gid: 2, xattrs: { 'user.new': '2' } }), file('d/new')])
    expect(describeTree(layers.view)[0]).toBe(`d directory 1777 0:2 ${THEN} user.new=2 `)
    expect(outline(layers.view)).toEqual(['d/', 'd/new ', 'd/old '])
  })

  it('becomes an empty directory over a file, even if a deeper layer has a directory (buildkit#2614)', () => {
    const layers = stack()
    layers.apply([directory('d'), file('d/deep')])
    layers.apply([file('d', 'in between')])
    layers.apply([directory('d'), file('d/new')])
    expect(outline(layers.view)).toEqual(['d/', 'd/new '])
  })

  it('replaces earlier entries of the same name', () => {
    const layers = stack()
    layers.apply([file('a', 'one'), file('a', 'two'), directory('b'), file('b/x'), file('b', 'three')])
    expect(outline(layers.view)).toEqual(['a two', 'b three'])
  })

  it('never writes through a hard link', () => {
    const layers = stack()
    layers.apply([file('a', 'one'), link('b', 'a'), file('b', 'two')])
    expect(outline(layers.view)).toEqual(['a one', 'b two'])
  })
})

describe('LayerApplier on an upper directory with content', () => {
  it('applies the layer to the union of the upper and lower directories', () => {
    const [lower, upper] = [scratch(), scratch()]
    const spec = (root: string) => ({ kind: 'host', root, ...hostAttributes }) as const
    const apply = (root: string, lowers: string[], entries: Iterable<ReturnType<typeof file>>) =>
      feed(
        new LayerApplier({ files: spec(root), form: 'overlay', lowers: lowers.map(spec) }),
        partsOf(entries),
      )
    apply(lower, [], [file('a', 'low'), directory('d'), file('d/x', 'low'), file('e', 'low')])
    apply(upper, [lower], [file('d/y', 'up'), whiteout('e')])
    apply(
      upper,
      [lower],
      [whiteout('a'), directory('d', { mode: 0o700 }), whiteout('d/y'), file('e', 'again')],
    )
    const stack = new HostFs(spec(upper))
    expect(stack.lstat(bytes('d')).mode).toBe(0o700)
    expect(contentAt(stack, bytes('e'))).toBe('again')
    expect(stack.readdir(bytes('d')).filter((found) => found.type === 'file')).toEqual([])
  })
})
