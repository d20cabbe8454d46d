//! Models as AWS holds them.

use guardrail_core::control::table::Control;
use guardrail_tests::{control, fake::World};

use crate::convergence::Model;

macro_rules! put {
    ($($name:ident $field:ident $value:ty,)*) => {
        /// Makes a control's part of the world what it is in a model.
        pub(crate) fn put(world: &mut World, model: &Model, control: Control) {
            match control {
                $(Control::$name => control::$field::put(world, &model.$field),)*
                Control::KmsKey => control::kms_key::put(world, &model.kms_key),
                Control::Trail => control::trail::put(world, &model.trail),
            }
        }
    };
}
guardrail_core::for_settings_of_buckets!(put);
