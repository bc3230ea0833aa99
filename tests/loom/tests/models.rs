//! Each model, as a test.

use tokio_rdkafka_loom::{capacity_models, delivery_models};

macro_rules! models {
    ($($module:ident: $($model:ident)*;)*) => {
        $($(
            #[test]
            fn $model() {
                $module::$model();
            }
        )*)*
    };
}

models! {
    capacity_models:
        two_wait_and_one_gives_back
        the_first_leaves_while_capacity_comes
        one_that_is_too_large_leaves_while_capacity_comes
        the_first_leaves_while_the_queue_is_overbooked
        a_place_moves_to_another_waker_while_capacity_comes
        a_close_meets_one_who_comes
        a_close_meets_capacity_that_comes;
    delivery_models:
        a_future_is_awaited_while_it_resolves
        a_future_changes_its_waker_while_it_resolves
        a_future_moves_to_another_thread_while_it_resolves
        a_future_is_dropped_while_it_resolves
        a_future_is_awaited_while_its_completer_is_dropped
        a_future_is_dropped_while_the_driver_asks
        a_future_is_polled_while_the_driver_asks
        a_result_is_taken_or_unseen
        a_segment_is_used_again_while_others_let_go_of_it;
}
