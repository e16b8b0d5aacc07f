import type { Files } from '../files.js'
import {
  copyGround,
  driverGround,
  fuseOverlayfsGround,
  overlayfsGround,
  type Ground,
  type Layers,
} from '../ground.js'
import { content, GIB, KIB, MIB, type InputFile } from '../inputs.js'
import { bytes } from '../format.js'
import type { Task, Workload } from '../workload.js'

/** Something done to one file or directory at `path`; `before` is not measured. */
interface Action {
  readonly does: string
  before?(files: Files, path: string): Promise<void>
  run(files: Files, path: string, size: number): Promise<void>
  /** A copy of the whole file is what it costs at least. */
  readonly copies?: boolean
}

const FOUR = Buffer.from('four')

async function write(files: Files, path: string, position: number | null, flags = 'r+'): Promise<void> {
  const file = await files.open(path, flags)
  await file.write(FOUR, 0, FOUR.length, position)
  await file.close()
}

export const actions = {
  'first-write': {
    does: 'opens a file of a lower layer, writes 4 bytes at its beginning, closes it',
    run: (files, path) => write(files, path, 0),
    copies: true,
  },
  'second-write': {
    does: 'the same once more, when the file is in the writable layer',
    before: (files, path) => write(files, path, 0),
    run: (files, path) => write(files, path, 0),
  },
  append: {
    does: 'adds 4 bytes to a file of a lower layer',
    run: (files, path) => write(files, path, null, 'a'),
    copies: true,
  },
  'middle-write': {
    does: 'changes 4 bytes in the middle of a file of a lower layer',
    run: (files, path, size) => write(files, path, Math.floor(size / 2)),
    copies: true,
  },
  chmod: {
    does: 'changes the mode of a file of a lower layer',
    run: (files, path) => files.chmod(path, 0o600),
    copies: true,
  },
  unlink: { does: 'removes a file of a lower layer', run: (files, path) => files.unlink(path) },
  rename: {
    does: 'renames a file of a lower layer',
    run: (files, path) => files.rename(path, `${path}-renamed`),
    copies: true,
  },
  create: {
    does: 'writes a new file',
    run: (files, path, size) => files.writeFile(`${path}-new`, content(size)),
  },
} satisfies Record<string, Action>

const READ = Buffer.alloc(4 * KIB)

/** One action on each of `count` files of one size. */
export function copyOnWrite(name: keyof typeof actions, size: number, count: number): Workload {
  const action: Action = actions[name]
  const layers = onTwoLayers(size, count)
  const paths = (layers[0] as readonly InputFile[]).map(({ path }) => `/${path}`)
  const task = async (ground: Promise<Ground>): Promise<Task> => {
    const made = await ground
    return {
      async run(clock) {
        await using writable = await made.writable()
        const { files } = writable
        if (action.before !== undefined) for (const path of paths) await action.before(files, path)
        await clock.growth(made.directory, () =>
          clock.phase(
            name,
            async () => {
              for (const path of paths) await action.run(files, path, size)
            },
            count,
          ),
        )
      },
      [Symbol.asyncDispose]: () => made[Symbol.asyncDispose](),
    }
  }
  return {
    name: `cow/${name} ${bytes(size)}`,
    about: `${action.does}; ${bytes(size)} each, ${count === 1 ? 'one file' : `${count} files in turn`}`,
    heavy: size > MIB,
    space: 2 * size * count,
    onMount: size < GIB,
    unsynced: name === 'first-write' && size > 0 && size <= MIB,
    ...(name === 'first-write' && { point: { series: 'cow/first-write', at: size } }),
    driver: (side) => task(driverGround(side, layers)),
    floors: {
      overlayfs: (place) => task(overlayfsGround(place, layers)),
      ...(action.copies === true && { 'plain copy': (place) => task(copyGround(place, layers)) }),
    },
    peers: { 'fuse-overlayfs': (place) => task(fuseOverlayfsGround(place, layers)) },
  }
}

/** Reading through a stack: files of the lowest layer, or a directory that every layer adds to. */
export function throughLayers(what: 'open-read-close' | 'readdir', depth: number): Workload {
  const count = what === 'readdir' ? 20 : 200
  const layers = stackOf(depth)
  const paths = (layers[0] as readonly InputFile[]).slice(0, count).map(({ path }) => `/${path}`)
  const read = async (files: Files, path: string): Promise<void> => {
    if (what === 'readdir') return void (await files.readdir('/shared'))
    const file = await files.open(path, 'r')
    await file.read(READ, 0, READ.length, 0)
    await file.close()
  }
  const task = async (ground: Promise<Ground>): Promise<Task> => {
    const made = await ground
    const writable = await made.writable()
    return {
      async run(clock) {
        await clock.phase(
          what,
          async () => {
            for (const path of paths) await read(writable.files, path)
          },
          paths.length,
        )
      },
      async [Symbol.asyncDispose]() {
        await writable[Symbol.asyncDispose]()
        await made[Symbol.asyncDispose]()
      },
    }
  }
  const does =
    what === 'readdir'
      ? 'lists a directory of 1,000 names that each layer adds to'
      : 'opens a file of 4 KiB in the lowest layer, reads it, closes it'
  return {
    name: `cow/${what} ${depth} ${depth === 1 ? 'layer' : 'layers'}`,
    about: `${does}; ${depth === 1 ? 'one layer' : `${depth} layers`} and a writable one`,
    heavy: depth > 100,
    onMount: true,
    depth: depth + 1,
    point: { series: `cow/${what}`, at: depth },
    driver: (side) => task(driverGround(side, layers)),
    floors: { overlayfs: (place) => task(overlayfsGround(place, layers)) },
    peers: { 'fuse-overlayfs': (place) => task(fuseOverlayfsGround(place, layers)) },
  }
}

/** What is worked on lies in the lower one of two layers. */
function onTwoLayers(size: number, count: number): Layers {
  const worked = Array.from({ length: count }, (_, index) => ({ path: `dir/file${index}`, size }))
  return [worked, [{ path: 'other', size: 1 }]]
}

function stackOf(depth: number): Layers {
  const read = numbered(200).map((index) => ({ path: `read/file${index}`, size: 4 * KIB }))
  return numbered(depth).map((layer) => {
    const own = numbered(1000).filter((index) => index % depth === layer)
    return [...(layer === 0 ? read : []), ...own.map((index) => ({ path: `shared/name${index}`, size: 0 }))]
  })
}

function numbered(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index)
}
