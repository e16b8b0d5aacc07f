import type { Files } from '../files.js'
import {
  copyFixture,
  driverFixture,
  fuseOverlayfsFixture,
  overlayfsFixture,
  type Fixture,
  type Layers,
} from '../fixture.js'
import { content, GIB, KIB, MIB, type InputFile } from '../inputs.js'
import { bytes } from '../format.js'
import type { Task, Workload } from '../workload.js'

/** An operation on one file or directory at `path`; `before` is not measured. */
interface Action {
  readonly does: string
  before?(files: Files, path: string): Promise<void>
  run(files: Files, path: string, size: number): Promise<void>
  /** Whether it copies the whole file, so that a plain copy is a floor. */
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
    does: 'open a file of a lower layer, write 4 bytes at its start, close it',
    run: (files, path) => write(files, path, 0),
    copies: true,
  },
  'second-write': {
    does: 'the same as first-write, after the file was copied to the writable layer',
    before: (files, path) => write(files, path, 0),
    run: (files, path) => write(files, path, 0),
  },
  append: {
    does: 'append 4 bytes to a file of a lower layer',
    run: (files, path) => write(files, path, null, 'a'),
    copies: true,
  },
  'middle-write': {
    does: 'overwrite 4 bytes in the middle of a file of a lower layer',
    run: (files, path, size) => write(files, path, Math.floor(size / 2)),
    copies: true,
  },
  chmod: {
    does: 'change the mode of a file of a lower layer',
    run: (files, path) => files.chmod(path, 0o600),
    copies: true,
  },
  unlink: { does: 'remove a file of a lower layer', run: (files, path) => files.unlink(path) },
  rename: {
    does: 'rename a file of a lower layer',
    run: (files, path) => files.rename(path, `${path}-renamed`),
    copies: true,
  },
  create: {
    does: 'write a new file',
    run: (files, path, size) => files.writeFile(`${path}-new`, content(size)),
  },
} satisfies Record<string, Action>

const READ = Buffer.alloc(4 * KIB)

/** Performs one action on each of `count` files of the same size. */
export function copyOnWrite(name: keyof typeof actions, size: number, count: number): Workload {
  const action: Action = actions[name]
  const layers = onTwoLayers(size, count)
  const paths = (layers[0] as readonly InputFile[]).map(({ path }) => `/${path}`)
  const task = async (making: Promise<Fixture>): Promise<Task> => {
    const fixture = await making
    return {
      async run(clock) {
        await using writable = await fixture.writable()
        const { files } = writable
        if (action.before !== undefined) for (const path of paths) await action.before(files, path)
        await clock.growth(fixture.directory, () =>
          clock.phase(
            name,
            async () => {
              for (const path of paths) await action.run(files, path, size)
            },
            count,
          ),
        )
      },
      [Symbol.asyncDispose]: () => fixture[Symbol.asyncDispose](),
    }
  }
  return {
    name: `cow/${name} ${bytes(size)}`,
    about: `${action.does}; ${bytes(size)} each, ${count === 1 ? 'one file' : `${count} files one after the other`}`,
    heavy: size > MIB,
    space: 2 * size * count,
    onMount: size < GIB,
    unsynced: name === 'first-write' && size > 0 && size <= MIB,
    ...(name === 'first-write' && { point: { series: 'cow/first-write', at: size } }),
    driver: (workspace) => task(driverFixture(workspace, layers)),
    floors: {
      overlayfs: (workspace) => task(overlayfsFixture(workspace, layers)),
      ...(action.copies === true && { 'plain copy': (workspace) => task(copyFixture(workspace, layers)) }),
    },
    peers: { 'fuse-overlayfs': (workspace) => task(fuseOverlayfsFixture(workspace, layers)) },
  }
}

/** Reads through a stack: files of the lowest layer, or a directory that every layer adds to. */
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
  const task = async (making: Promise<Fixture>): Promise<Task> => {
    const fixture = await making
    const writable = await fixture.writable()
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
        await fixture[Symbol.asyncDispose]()
      },
    }
  }
  const does =
    what === 'readdir'
      ? 'list a directory of 1,000 names that each layer adds to'
      : 'open a 4 KiB file in the lowest layer, read it, close it'
  return {
    name: `cow/${what} ${depth} ${depth === 1 ? 'layer' : 'layers'}`,
    about: `${does}; ${depth === 1 ? 'one layer' : `${depth} layers`} and a writable one`,
    heavy: depth > 100,
    onMount: true,
    depth: depth + 1,
    point: { series: `cow/${what}`, at: depth },
    driver: (workspace) => task(driverFixture(workspace, layers)),
    floors: { overlayfs: (workspace) => task(overlayfsFixture(workspace, layers)) },
    peers: { 'fuse-overlayfs': (workspace) => task(fuseOverlayfsFixture(workspace, layers)) },
  }
}

/** Puts the files into the lower of two layers. */
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
