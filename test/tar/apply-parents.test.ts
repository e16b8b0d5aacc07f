/** @module-tag unit */
import { afterAll, describe, expect, it } from 'vitest'
import {
  describeTree,
  directory,
  file,
  FORMS,
  invalid,
  outline,
  removeScratch,
  symlink,
  THEN,
} from './stacks.js'

afterAll(removeScratch)

describe.each(FORMS)('parents without an entry ($form)', ({ stack }) => {
  it('take mode, owner, xattrs and times of the lower directory', () => {
    const layers = stack()
    layers.apply([
      directory('p', { mode: 0o1750, uid: 7, gid: 8, xattrs: { 'user.x': '\0\xff' } }),
      directory('p/q', { mode: 0o711, mtimeNs: THEN + 5n }),
    ])
    const before = describeTree(layers.view)
    layers.apply([file('p/q/a', 'x')])
    expect(describeTree(layers.view).slice(0, 2)).toEqual(before)
  })

  it("are root's, 0755 and dated 1970 if no lower directory exists", () => {
    const layers = stack()
    layers.apply([file('p/q/a')])
    expect(describeTree(layers.view).slice(0, 2)).toEqual([
      'p directory 755 0:0 0 ',
      'p/q directory 755 0:0 0 ',
    ])
  })

  it('shadow a symlink of a lower layer instead of following it', () => {
    const layers = stack()
    layers.apply([directory('real'), file('real/old'), symlink('lib', 'real')])
    layers.apply([file('lib/new')])
    expect(outline(layers.view)).toEqual(['lib/', 'lib/new ', 'real/', 'real/old '])
  })

  it('shadow a file of a lower layer', () => {
    const layers = stack()
    layers.apply([file('p', 'old')])
    layers.apply([file('p/a')])
    expect(outline(layers.view)).toEqual(['p/', 'p/a '])
  })

  it('follow symlinks of the same layer inside the root, absolute and climbing ones included', () => {
    const layers = stack()
    layers.apply([directory('real/deep'), directory('x')])
    layers.apply([
      ...[
        symlink('x/absolute', '/real'),
        symlink('x/relative', '../real/./deep/'),
        symlink('x/climbing', '../../../real'),
      ],
      ...[
        file('x/absolute/a'),
        file('x/relative/b'),
        file('x/climbing/c'),
        symlink('chain', 'x/absolute'),
        file('chain/d'),
      ],
    ])
    expect(outline(layers.view)).toEqual([
      ...['chain -> x/absolute', 'real/', 'real/a ', 'real/c ', 'real/d ', 'real/deep/', 'real/deep/b '],
      ...['x/', 'x/absolute -> /real', 'x/climbing -> ../../../real', 'x/relative -> ../real/./deep/'],
    ])
  })

  it('are created at the missing target of a symlink of the same layer', () => {
    const layers = stack()
    layers.apply([symlink('s', 'to/be'), file('s/a')])
    expect(outline(layers.view)).toEqual(['s -> to/be', 'to/', 'to/be/', 'to/be/a '])
  })

  it('are refused if they are files or symlink loops of the same layer', () => {
    expect(() => stack().apply([file('a'), file('a/b')])).toThrow(invalid)
    expect(() => stack().apply([symlink('a', 'b'), symlink('b', 'a'), file('a/c')])).toThrow(invalid)
  })
})
