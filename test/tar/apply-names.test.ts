/** @module-tag unit */
import { afterAll, describe, expect, it } from 'vitest'
import { bytes, directory, file, FORMS, invalid, outline, removeScratch, symlink } from './stacks.js'

afterAll(removeScratch)

describe.each(FORMS)('names of entries ($form)', ({ stack }) => {
  it('lose leading slashes, dots, empty components and ".."', () => {
    const layers = stack()
    layers.apply([file('/a'), file('./b'), file('d//c'), file('d/./e/../f'), directory('g/')])
    expect(outline(layers.view)).toEqual(['a ', 'b ', 'd/', 'd/c ', 'd/f ', 'g/'])
  })

  it('are ignored if they name the root', () => {
    const layers = stack()
    layers.apply([directory('./', { mode: 0o700 }), directory('/'), directory('.'), file('a')])
    expect(outline(layers.view)).toEqual(['a '])
  })

  it.each(['../a', '/../a', 'a/../../b', '..'])('are refused if they climb out of the root: %s', (name) => {
    expect(() => stack().apply([file(name)])).toThrow(
      expect.objectContaining({ code: 'LAYER_INVALID', path: name }),
    )
  })

  it('and symlink targets are refused if they contain a NUL byte', () => {
    expect(() => stack().apply([file('a\0b')])).toThrow(invalid)
    expect(() => stack().apply([symlink('a', 'b\0c')])).toThrow(invalid)
  })

  it('may hold any other byte', () => {
    const layers = stack()
    const name = Buffer.from([0x66, 0xff, 0xfe, 0x0a, 0x22]).toString('latin1')
    const odd = { ...file('x', 'content'), header: { ...file('x', 'content').header, name: bytes('') } }
    layers.apply([{ ...odd, header: { ...odd.header, name: name as never } }])
    expect(layers.view.readdir(bytes('')).map((found) => found.name)).toEqual([name])
  })

  it.each(['.wh.', '.wh..', '.wh...', 'd/.wh.', '.wh.a/b'])(
    'are refused if they are invalid whiteouts: %s',
    (name) => {
      expect(() => stack().apply([directory('d'), file(name)])).toThrow(invalid)
    },
  )

  it('are ignored if they are AUFS metadata', () => {
    const layers = stack()
    layers.apply([directory('.wh..wh.plnk'), file('.wh..wh.plnk/1.2', 'x'), file('.wh..wh.aufs'), file('a')])
    expect(outline(layers.view)).toEqual(['a '])
  })
})
