/** @module-tag unit */
import { lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import type { ByteString } from '#layerstack/fs/bytes.js'
import { HostFs } from '#layerstack/fs/host/host-fs.js'
import { MemoryFs } from '#layerstack/fs/memory/memory-fs.js'
import { LayerApplier } from '#layerstack/tar/apply.js'
import {
  bytes,
  contentAt,
  describeTree,
  directory,
  entry,
  feed,
  file,
  FORMS,
  link,
  opaque,
  outline,
  partsOf,
  removeScratch,
  scratch,
  symlink,
  THEN,
  whiteout,
} from './stacks.js'

afterAll(removeScratch)

const invalid = expect.objectContaining({ code: 'LAYER_INVALID' })

describe.each(FORMS)('a layer applied in the form: $form', ({ stack }) => {
  describe('names', () => {
    it('are cleaned of leading slashes and dots, empty components and steps back', () => {
      const layers = stack()
      layers.apply([file('/a'), file('./b'), file('d//c'), file('d/./e/../f'), directory('g/')])
      expect(outline(layers.view)).toEqual(['a ', 'b ', 'd/', 'd/c ', 'd/f ', 'g/'])
    })

    it('of the root itself are passed over', () => {
      const layers = stack()
      layers.apply([directory('./', { mode: 0o700 }), directory('/'), directory('.'), file('a')])
      expect(outline(layers.view)).toEqual(['a '])
    })

    it.each(['../a', '/../a', 'a/../../b', '..'])('that climb out of the root are refused: %s', (name) => {
      expect(() => stack().apply([file(name)])).toThrow(
        expect.objectContaining({ code: 'LAYER_INVALID', path: name }),
      )
    })

    it('that no file can have are refused', () => {
      expect(() => stack().apply([file('a\0b')])).toThrow(invalid)
      expect(() => stack().apply([symlink('a', 'b\0c')])).toThrow(invalid)
    })

    it('may be any other bytes', () => {
      const layers = stack()
      const name = Buffer.from([0x66, 0xff, 0xfe, 0x0a, 0x22]).toString('latin1')
      const odd = { ...file('x', 'content'), header: { ...file('x', 'content').header, name: bytes('') } }
      layers.apply([{ ...odd, header: { ...odd.header, name: name as never } }])
      expect(layers.view.readdir(bytes('')).map((found) => found.name)).toEqual([name])
    })

    it.each(['.wh.', '.wh..', '.wh...', 'd/.wh.', '.wh.a/b'])(
      'that are whiteouts of nothing are refused: %s',
      (name) => {
        expect(() => stack().apply([directory('d'), file(name)])).toThrow(invalid)
      },
    )

    it("of AUFS' own housekeeping are passed over", () => {
      const layers = stack()
      layers.apply([
        directory('.wh..wh.plnk'),
        file('.wh..wh.plnk/1.2', 'x'),
        file('.wh..wh.aufs'),
        file('a'),
      ])
      expect(outline(layers.view)).toEqual(['a '])
    })
  })

  describe('whiteouts', () => {
    it('hide what lower layers have, with all below it', () => {
      const layers = stack()
      layers.apply([directory('d'), file('d/a'), file('d/b'), directory('e'), file('e/c')])
      layers.apply([whiteout('d/a'), whiteout('e')])
      expect(outline(layers.view)).toEqual(['d/', 'd/b '])
    })

    it('never hide an entry of the same layer, before them or after', () => {
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

    it('beside a directory without an entry hide the lower one, its attributes too', () => {
      const layers = stack()
      layers.apply([directory('d', { mode: 0o700, uid: 5, gid: 6 }), file('d/old')])
      layers.apply([file('d/new'), whiteout('d')])
      expect(outline(layers.view)).toEqual(['d/', 'd/new '])
      expect(layers.view.lstat(bytes('d'))).toMatchObject({ mode: 0o755, uid: 0, gid: 0 })
    })

    it('for nothing are no error, and leave nothing', () => {
      const layers = stack()
      layers.apply([file('a'), directory('d')])
      const before = describeTree(layers.view)
      layers.apply([
        whiteout('missing'),
        whiteout('d/missing'),
        whiteout('missing/below'),
        whiteout('a/below'),
      ])
      expect(describeTree(layers.view)).toEqual(before)
    })

    it('leave the times of the directory that they are in', () => {
      const layers = stack()
      layers.apply([directory('d'), file('d/a')])
      layers.apply([whiteout('d/a')])
      expect(layers.view.lstat(bytes('d')).mtimeNs).toBe(THEN)
    })

    it('of an earlier layer end with an entry of a later one', () => {
      const layers = stack()
      layers.apply([directory('d'), file('d/a', 'lowest')])
      layers.apply([whiteout('d')])
      layers.apply([file('d/b', 'top')])
      expect(outline(layers.view)).toEqual(['d/', 'd/b top'])
    })

    it('may be made again and again by duplicates, the last entry counts', () => {
      const layers = stack()
      layers.apply([directory('d'), file('d/old')])
      layers.apply([
        ...[directory('d'), whiteout('d'), file('d', 'x'), directory('d'), file('d', 'y'), directory('d')],
        file('d/new'),
      ])
      expect(outline(layers.view)).toEqual(['d/', 'd/new '])
    })

    it('in the shape of a device 0:0 are passed over: no lower file may vanish by them', () => {
      const layers = stack()
      layers.apply([file('a', 'kept')])
      layers.apply([entry('a', 'char'), entry('b', 'char')])
      expect(outline(layers.view)).toEqual(['a kept'])
    })
  })

  describe('opaque markers', () => {
    it.each(['first', 'last'])('hide all lower children and none of this layer, standing %s', (where) => {
      const layers = stack()
      layers.apply([directory('d'), file('d/old'), directory('d/sub'), file('d/sub/old')])
      const rest = [directory('d'), file('d/new'), directory('d/sub'), file('d/sub/new')]
      layers.apply(where === 'first' ? [opaque('d'), ...rest] : [...rest, opaque('d')])
      expect(outline(layers.view)).toEqual(['d/', 'd/new ', 'd/sub/', 'd/sub/new '])
    })

    it('without an entry for their directory keep its attributes', () => {
      const layers = stack()
      layers.apply([directory('d', { mode: 0o710, uid: 3 }), file('d/old')])
      layers.apply([opaque('d')])
      expect(outline(layers.view)).toEqual(['d/'])
      expect(layers.view.lstat(bytes('d'))).toMatchObject({ mode: 0o710, uid: 3, mtimeNs: THEN })
    })

    it('in the root hide everything below this layer', () => {
      const layers = stack()
      layers.apply([file('a'), directory('d'), file('d/old'), directory('e'), file('e/old')])
      layers.apply([directory('d'), file('d/new'), opaque(''), directory('e'), file('f')])
      expect(outline(layers.view)).toEqual(['d/', 'd/new ', 'e/', 'f '])
    })

    it('hold for a directory that is replaced twice', () => {
      const layers = stack()
      layers.apply([directory('d'), file('d/old')])
      layers.apply([directory('d'), opaque('d'), file('d', 'x'), directory('d'), file('d/new')])
      expect(outline(layers.view)).toEqual(['d/', 'd/new '])
    })

    it('where nothing is make a directory, as everywhere', () => {
      const layers = stack()
      layers.apply([opaque('d')])
      expect(outline(layers.view)).toEqual(['d/'])
    })
  })

  describe('what exists', () => {
    it('is replaced, whatever it was', () => {
      const layers = stack()
      layers.apply([file('a', 'old'), directory('b'), file('b/x'), symlink('c', 'a'), file('d')])
      layers.apply([directory('a'), file('b', 'new'), file('c', 'new'), symlink('d', 'b')])
      expect(outline(layers.view)).toEqual(['a/', 'b new', 'c new', 'd -> b'])
    })

    it('merges where a directory comes on a directory, and takes the attributes of the entry alone', () => {
      const layers = stack()
      layers.apply([directory('d', { mode: 0o700, uid: 1, xattrs: { 'user.old': '1' } }), file('d/old')])
      layers.apply([directory('d', { mode: 0o1777, gid: 2, xattrs: { 'user.new': '2' } }), file('d/new')])
      expect(describeTree(layers.view)[0]).toBe(`d directory 1777 0:2 ${THEN} user.new=2 `)
      expect(outline(layers.view)).toEqual(['d/', 'd/new ', 'd/old '])
    })

    it('becomes an empty directory where it was none, whatever stands deeper (buildkit#2614)', () => {
      const layers = stack()
      layers.apply([directory('d'), file('d/deep')])
      layers.apply([file('d', 'in between')])
      layers.apply([directory('d'), file('d/new')])
      expect(outline(layers.view)).toEqual(['d/', 'd/new '])
    })

    it('is the last of entries of one name', () => {
      const layers = stack()
      layers.apply([file('a', 'one'), file('a', 'two'), directory('b'), file('b/x'), file('b', 'three')])
      expect(outline(layers.view)).toEqual(['a two', 'b three'])
    })

    it('is never written through another name of it', () => {
      const layers = stack()
      layers.apply([file('a', 'one'), link('b', 'a'), file('b', 'two')])
      expect(outline(layers.view)).toEqual(['a one', 'b two'])
    })
  })

  describe('parents without an entry', () => {
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

    it("are root's, 0755 and of 1970 where there is none", () => {
      const layers = stack()
      layers.apply([file('p/q/a')])
      expect(describeTree(layers.view).slice(0, 2)).toEqual([
        'p directory 755 0:0 0 ',
        'p/q directory 755 0:0 0 ',
      ])
    })

    it('shadow a symlink of a lower layer, and do not follow it', () => {
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

    it('are found through symlinks of the same layer, absolute and climbing ones inside the root', () => {
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

    it('are made where a symlink of the same layer points at nothing', () => {
      const layers = stack()
      layers.apply([symlink('s', 'to/be'), file('s/a')])
      expect(outline(layers.view)).toEqual(['s -> to/be', 'to/', 'to/be/', 'to/be/a '])
    })

    it('that are files or loops of the same layer are refused', () => {
      expect(() => stack().apply([file('a'), file('a/b')])).toThrow(invalid)
      expect(() => stack().apply([symlink('a', 'b'), symlink('b', 'a'), file('a/c')])).toThrow(invalid)
    })
  })

  describe('attributes', () => {
    it('are kept: every mode bit, owners over 2^21, xattrs of any bytes, times to the nanosecond', () => {
      const layers = stack()
      const binary = '\0\xff\n='
      layers.apply([
        directory('d', { mode: 0o3777, uid: 3_000_000, gid: 4_000_000_000, mtimeNs: THEN + 123_456_789n }),
        file('d/suid', 'x', {
          mode: 0o6755,
          uid: 1,
          gid: 2,
          mtimeNs: THEN + 1n,
          xattrs: { 'user.b': binary },
        }),
        file('d/none', '', { mode: 0 }),
        symlink('d/s', 'nowhere', { uid: 9, gid: 10, mtimeNs: THEN + 7n }),
        entry('d/fifo', 'fifo', { mode: 0o620, uid: 3 }),
        entry('d/null', 'char', { mode: 0o666, device: { major: 1, minor: 3 } }),
        entry('d/sda', 'block', { mode: 0o660, gid: 6, device: { major: 8, minor: 300 } }),
      ])
      expect(describeTree(layers.view)).toEqual([
        `d directory 3777 3000000:4000000000 ${THEN + 123_456_789n} `,
        `d/fifo fifo 620 3:0 ${THEN} `,
        `d/none file 0 0:0 ${THEN} `,
        `d/null char 666 0:0 ${THEN} 1:3`,
        `d/s symlink 9:10 ${THEN + 7n} -> nowhere`,
        `d/sda block 660 0:6 ${THEN} 8:300`,
        `d/suid file 6755 1:2 ${THEN + 1n} user.b=${binary} x`,
      ])
    })

    it('keep times before 1970 and after 2038', () => {
      const layers = stack()
      const early = -1_000_000_000_500_000_000n
      const late = 5_000_000_000_000_000_000n
      layers.apply([file('early', '', { mtimeNs: early }), directory('late', { mtimeNs: late })])
      expect(layers.view.lstat(bytes('early')).mtimeNs).toBe(early)
      expect(layers.view.lstat(bytes('late')).mtimeNs).toBe(late)
    })

    it('of a directory are its own last ones, whatever is put in it later', () => {
      const layers = stack()
      layers.apply([directory('d'), file('d/a'), directory('d/e', { mtimeNs: THEN + 1n }), file('d/e/b')])
      expect(layers.view.lstat(bytes('d')).mtimeNs).toBe(THEN)
      expect(layers.view.lstat(bytes('d/e')).mtimeNs).toBe(THEN + 1n)
    })

    it('of the overlay and of our own keeping are not taken from a tar', () => {
      const layers = stack()
      layers.apply([directory('d'), file('d/old')])
      layers.apply([
        directory('d', {
          xattrs: {
            'trusted.overlay.opaque': 'y',
            'user.overlay.opaque': 'y',
            'trusted.overlay.redirect': '/etc',
            'user.containers.override_stat': '0:0:04777',
          },
        }),
      ])
      expect(describeTree(layers.view)).toEqual([
        `d directory 755 0:0 ${THEN} `,
        `d/old file 644 0:0 ${THEN} `,
      ])
    })
  })

  describe('hard links', () => {
    it('join names of one inode, be it a file, a symlink or a fifo', () => {
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

    it('to lower files are links to them, with all their attributes', () => {
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

    it('to what this layer or one in between has hidden are refused', () => {
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
      ['outside the root', '../a'],
      ['to nothing', 'missing'],
      ['into a missing directory', 'missing/a'],
      ['to a directory', 'd'],
      ['without a name', ''],
    ])('%s are refused', (_, target) => {
      expect(() => stack().apply([directory('d'), link('b', target)])).toThrow(invalid)
    })

    it('to themselves, as GNU tar writes a file that was named twice, leave it as it is', () => {
      const layers = stack()
      layers.apply([file('a', 'x'), link('a', 'a')])
      layers.apply([link('a', './a')])
      expect(outline(layers.view)).toEqual(['a x'])
      expect(() => stack().apply([link('a', 'a')])).toThrow(invalid)
    })

    it('in the place of a directory that holds their target are refused', () => {
      expect(() => stack().apply([file('d/a'), link('d', 'd/a')])).toThrow(invalid)
    })

    it('are not followed: who writes to the name of a linked symlink replaces it', () => {
      const layers = stack()
      layers.apply([file('victim', 'safe'), symlink('s', 'victim'), link('t', 's'), file('t', 'attack')])
      expect(outline(layers.view)).toEqual(['s -> victim', 't attack', 'victim safe'])
    })
  })

  describe('content', () => {
    it('of sparse files is put where it belongs', () => {
      const layers = stack()
      const pieces = [
        { offset: 2, length: 3 },
        { offset: 8, length: 4 },
      ]
      const sparse = { size: 15, pieces, mapInContent: false }
      const { size } = layers.apply([file('s', 'abcDEFG', { sparse })])
      expect(contentAt(layers.view, bytes('s'))).toBe('\0\0abc\0\0\0DEFG\0\0\0')
      expect(size).toBe(15)
    })

    it('of entries of unknown types is passed over, and so are they', () => {
      const layers = stack()
      layers.apply([entry('socket', 'unknown', {}, 'whatever'), file('a', 'x')])
      expect(outline(layers.view)).toEqual(['a x'])
    })

    it('is counted: bytes of regular files, whatever else is there', () => {
      const layers = stack()
      expect(layers.apply([file('a', '12345'), link('b', 'a'), directory('d'), file('c', '678')]).size).toBe(
        8,
      )
    })

    it('that is elsewhere is taken from there', () => {
      const source = new MemoryFs()
      const kept = source.open(bytes('kept'), 0o102, 0o600)
      kept.write(Buffer.from('from elsewhere'), 0)
      const layers = stack()
      const contents = () => ({ fs: source, path: bytes('kept'), size: 14 })
      layers.apply([file('a', 'not this here.', { mode: 0o640 }), link('b', 'a')], { contents })
      expect(describeTree(layers.view)).toEqual([
        `a file 640 0:0 ${THEN} from elsewhere`,
        `b file 640 0:0 ${THEN} = a`,
      ])
    })
  })

  describe('what it says of stored content', () => {
    it('holds: a file of that name gives the content back, for the tar-split', () => {
      const layers = stack()
      layers.apply([directory('d'), file('lower')])
      const entries = [
        ...[file('./a', 'one'), file('x/../d/b', 'two'), symlink('s', 'd'), file('s/through', 'three')],
        ...[entry('l', 'link', { linkName: bytes('a'), size: 4 }, 'what'), file('.wh.lower', 'noise')],
        ...[entry('u', 'unknown', {}, 'skipped'), entry('dir', 'directory', {}, 'odd'), file('empty')],
        file('sp', 'x', { sparse: { size: 2, pieces: [{ offset: 1, length: 1 }], mapInContent: false } }),
      ]
      const { stored } = layers.apply(entries)
      const withContent = entries
        .map((one, index) => [one, stored[index]] as const)
        .filter(([one]) => one.content.length > 0)
      expect(withContent.map(([one, answer]) => `${one.header.name} ${answer}`)).toEqual([
        './a true',
        'x/../d/b true',
        's/through false',
        'l false',
        '.wh.lower false',
        'u false',
        'dir false',
        'sp false',
      ])
      expect(contentAt(layers.files, bytes('a'))).toBe('one')
      expect(contentAt(layers.files, bytes('d/b'))).toBe('two')
    })

    it('is taken back, with the content, before a later entry destroys it', () => {
      const layers = stack()
      const displaced: string[] = []
      layers.apply(
        [
          ...[
            file('a', 'first'),
            directory('d'),
            file('d/deep/b', 'second'),
            file('c', 'third'),
            link('l', 'c'),
          ],
          ...[file('a', 'newer'), symlink('d', 'c'), file('l', 'fourth'), file('empty'), file('empty', 'x')],
        ],
        {
          onDisplace: (number, readOld) =>
            displaced.push(`${number} ${Buffer.concat([...readOld()]).toString()}`),
        },
      )
      expect(displaced).toEqual(['0 first', '2 second'])
      expect(outline(layers.view)).toEqual(['a newer', 'c third', 'd -> c', 'empty x', 'l fourth'])
    })
  })
})

describe('a layer whose contents are referred to', () => {
  it('finds content by another name when a later entry takes the first one', () => {
    const entries = [
      ...[file('a', 'one'), link('b', 'a'), link('c', 'b'), file('a', 'two'), file('c', 'three')],
      ...[file('d/e', 'four'), link('f', 'd/e'), symlink('d', 'b')],
    ]
    const layer = FORMS.at(-1)?.stack()
    layer?.apply(entries)
    const files = layer?.files as HostFs
    const model = new MemoryFs()
    const contents = (header: { size: number }, path: ByteString) => ({ fs: files, path, size: header.size })
    feed(new LayerApplier({ syncFs: model }, { contents }), partsOf(entries))
    expect(outline(model)).toEqual(['a two', 'b one', 'c three', 'd -> b', 'f four'])
    expect(outline(model)).toEqual(outline(files))
  })
})

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
    ['steps back behind a symlink', [symlink('d', '/OUT/sub'), file('d/../pwned', 'x')]],
  ])('reaches nothing outside: %s', (_, entries) => {
    const top = scratch()
    mkdirSync(join(top, 'OUT/sub'), { recursive: true })
    writeFileSync(join(top, 'OUT/victim'), 'safe')
    const before = lstatSync(join(top, 'OUT')).mtimeMs
    const at = (name: string) => name.replace('/OUT', join(top, 'OUT'))
    for (const form of ['merged', 'overlay'] as const) {
      mkdirSync(join(top, form))
      const applier = new LayerApplier({
        files: { kind: 'host', root: join(top, form), ...kept },
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

  it('with names that are too long is refused', () => {
    const layers = { kind: 'host', root: scratch(), ...kept } as const
    const applier = new LayerApplier({ files: layers, form: 'merged', lowers: [] })
    expect(() => feed(applier, partsOf([file('x'.repeat(300))]))).toThrow(invalid)
  })

  it('that replaces one directory many times costs what it brings', () => {
    const layers = FORMS[0]?.stack()
    const entries = function* () {
      for (let index = 0; index < 20_000; index++) yield file(`many/${index}`)
      for (let index = 0; index < 20_000; index++) yield index % 2 === 0 ? directory('d') : file('d')
    }
    const start = performance.now()
    layers?.apply(entries())
    expect(performance.now() - start).toBeLessThan(5000)
  })
})

describe('an upper directory that holds something already', () => {
  it('is changed as the union that it is part of', () => {
    const [lower, upper] = [scratch(), scratch()]
    const spec = (root: string) => ({ kind: 'host', root, ...kept }) as const
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

const kept = process.getuid?.() === 0 ? {} : ({ attributes: 'override' } as const)
