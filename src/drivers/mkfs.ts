import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { isErrno, StoreError } from '../errors.js'

const execute = promisify(execFile)

export interface MkfsHints {
  /** What brings the program. */
  readonly package: string
  /** The driver's option that the program may have refused. */
  readonly option: string
}

/** Runs a program of the `mkfs` family, on the path or where only root has it. */
export async function mkfs(program: string, args: readonly string[], hints: MkfsHints): Promise<void> {
  try {
    await execute(program, args, { env: withSbin() })
  } catch (error) {
    if (isErrno(error, 'ENOENT')) {
      throw new StoreError('ENGINE_UNSUPPORTED', `${program} is not installed`, {
        hint: `install ${hints.package}`,
      })
    }
    const said = (error as { stderr?: string }).stderr?.trim() ?? ''
    throw new StoreError('SYSTEM', `${program} failed: ${said}`, {
      cause: error,
      hint: `look at ${hints.option}`,
    })
  }
}

export function withSbin(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` }
}
