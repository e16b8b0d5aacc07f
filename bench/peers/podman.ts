import { join } from 'node:path'
import { run } from '../../test/support/program.js'
import type { Clock } from '../clock.js'
import type { Place, Task } from '../workload.js'

/** podman, or buildah, on a store of its own with kernel overlays. */
export function podmanPeer(place: Place, program: 'podman' | 'buildah' = 'podman') {
  const root = join(place.directory, 'containers')
  const own = ['--root', root, '--runroot', join(place.directory, 'run'), '--storage-driver', 'overlay']
  return {
    root,
    run: async (...words: readonly string[]): Promise<string> =>
      (await run(program, [...own, ...words])).toString(),
    task: (work: (clock: Clock) => Promise<void>): Task => ({
      run: work,
      [Symbol.asyncDispose]: async () => undefined,
    }),
  }
}
