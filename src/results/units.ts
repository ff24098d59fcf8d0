/**
 * Numbers of results, each with its unit: schemas take the tags over, and a number without a unit fails a test. Used by all types
 * that files are described by.
 */

/**
 * @unit count
 * @asType integer
 * @minimum 0
 */
export type Count = number;
/** @unit count */
export type MeanCount = number;
/** @unit tokens */
export type Tokens = number;
/** @unit ms */
export type Milliseconds = number;
/** @unit us */
export type Microseconds = number;
/** @unit s */
export type Seconds = number;
/** @unit bytes */
export type Bytes = number;
/** @unit 1/s */
export type PerSecond = number;
/** @unit ratio */
export type Ratio = number;
/**
 * @unit probability
 * @minimum 0
 * @maximum 1
 */
export type Probability = number;
/**
 * @unit none
 * @asType integer
 */
export type Seed = number;
/** @unit count */
export type Processes = number;
